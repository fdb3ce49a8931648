/* certificates: keys and certificates made on the spot, for tests of TLS.
 *
 * Written as DIR/NAME.crt and DIR/NAME.key, PEM. Keys are P-256: RSA keys take too long to make.
 */
#pragma once

struct certificate {
    const char *common_name;
    const char *alternative_name; /* "DNS:localhost,IP:127.0.0.1"; NULL: none */
    const char *issuer;           /* NAME of an authority made before; NULL: signs itself */
    int is_authority;
};

/* Exits when it cannot. */
void certificate_make(const char *dir, const char *name, const struct certificate *certificate);

/* A new folder of its own; static memory, one for the process. */
const char *certificates_dir(void);
/* DIR/FILE, in one of a few static buffers. */
const char *certificates_path(const char *file);
