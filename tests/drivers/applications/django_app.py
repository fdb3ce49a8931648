"""Django's ORM and migrations over psycopg2: `django_app.py CASE` runs one case and prints what it got."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import django
from django.apps import AppConfig
from django.conf import settings

DATABASE = {
    "ENGINE": "django.db.backends.postgresql", "HOST": os.environ["PGHOST"], "PORT": os.environ["PGPORT"], "USER": os.environ["PGUSER"],
    "PASSWORD": os.environ["PGPASSWORD"], "NAME": os.environ["PGDATABASE"], "OPTIONS": {},
}
if sys.argv[1] == "isolation_level":
    DATABASE["OPTIONS"] = {"isolation_level": 3}  # psycopg2's SERIALIZABLE
settings.configure(DATABASES={"default": DATABASE}, INSTALLED_APPS=["__main__.Shop", "django.contrib.contenttypes", "django.contrib.auth"],
                   USE_TZ=True, TIME_ZONE="Europe/Berlin", DEFAULT_AUTO_FIELD="django.db.models.BigAutoField")


class Shop(AppConfig):
    name = "__main__"
    label = "shop"
    path = os.path.dirname(os.path.abspath(__file__))


django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import IntegrityError, connection, connections, models, transaction  # noqa: E402
from django.db.models import Count, F  # noqa: E402


class Item(models.Model):
    name = models.CharField(max_length=30, unique=True)
    facts = models.JSONField(default=dict)
    price = models.DecimalField(max_digits=10, decimal_places=2, default=0)

    class Meta:
        app_label = "shop"


class Order(models.Model):
    item = models.ForeignKey(Item, on_delete=models.CASCADE)

    class Meta:
        app_label = "shop"


def tables():
    with connection.cursor() as cursor:
        cursor.execute("drop table if exists shop_order, shop_item")
    with connection.schema_editor() as editor:
        editor.create_model(Item)
        editor.create_model(Order)
    Item.objects.bulk_create(Item(name=name, facts={"n": n}, price=n) for n, name in enumerate(["ann", "bob", "cleo"]))


def names():
    return list(Item.objects.order_by("name").values_list("name", flat=True))


def case_models():
    tables()
    print(list(Item.objects.filter(facts__n__gt=0).order_by("id").values()))
    Order.objects.bulk_create(Order(item=item) for item in Item.objects.exclude(name="cleo"))
    print(list(Item.objects.annotate(n=Count("order")).order_by("id").values_list("name", "n")))
    print(Item.objects.filter(name="bob").update(price=F("price") + 1), Item.objects.get(name="bob").price)
    print(Item.objects.update_or_create(name="ann", defaults={"price": 5})[1], Item.objects.filter(name="ann").delete()[0])
    print(names(), sum(item.id for item in Item.objects.iterator(chunk_size=1)))


def case_transactions():
    tables()
    with transaction.atomic():
        Item.objects.create(name="kept")
        try:
            with transaction.atomic():
                Item.objects.create(name="ann")
        except IntegrityError as error:
            print(str(error).split("\n")[0])
        Item.objects.select_for_update().get(name="bob")
    try:
        with transaction.atomic():
            Item.objects.create(name="lost")
            raise KeyError
    except KeyError:
        pass
    print(names())


def case_migrations():
    with connection.cursor() as cursor:
        cursor.execute("drop table if exists django_migrations, auth_user_user_permissions, auth_user_groups, auth_user, "
                       "auth_group_permissions, auth_group, auth_permission, django_content_type cascade")
    call_command("migrate", "auth", verbosity=1, no_color=True)
    User.objects.create_user("someone", password="secret")
    print(User.objects.filter(username="someone").count())
    call_command("migrate", "auth", "0005", verbosity=0)
    call_command("showmigrations", "auth", no_color=True)


def case_many_threads():
    tables()

    def work(n):
        try:
            with transaction.atomic():
                Item.objects.create(name=f"n{n}")
                return Item.objects.get(name=f"n{n}").name
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as threads:
        print(list(threads.map(work, range(40))))


def case_isolation_level():
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("show transaction_isolation")
        print(cursor.fetchall())


if __name__ == "__main__":
    globals()["case_" + sys.argv[1]]()
