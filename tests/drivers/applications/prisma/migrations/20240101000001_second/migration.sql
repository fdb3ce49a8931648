CREATE INDEX "Post_authorId" ON "Post"("authorId");
