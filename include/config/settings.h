/* settings: the values of [pgbouncer], one field for each OPTION line of config/options.def, of its
 * type and name.
 *
 * INT is int, UINT unsigned, TIME usec_t, text and lists const char * (NULL where the default is
 * none and the file says nothing), the enums as below. Owned by the snapshot that embeds it;
 * immutable. Any thread.
 */
#pragma once
#include "base/clock.h"
#include "base/log.h"
#include "net/tls_context.h"

enum pool_mode { POOL_MODE_SESSION, POOL_MODE_TRANSACTION, POOL_MODE_STATEMENT };
/* What becomes of session state in transaction mode: it follows its client, is lost at the end of
 * the transaction, or stays on the server for whoever comes next. */
enum session_state { SESSION_STATE_FOLLOW, SESSION_STATE_RESET, SESSION_STATE_LEAK };
/* When a server is asked what a session has; what a DO or CALL may have done besides. */
enum session_probe_when { SESSION_PROBE_AUTO, SESSION_PROBE_ALWAYS };
enum follow_unknown { FOLLOW_UNKNOWN_PROBE, FOLLOW_UNKNOWN_PIN };
enum auth_type {
    AUTH_ANY,
    AUTH_TRUST,
    AUTH_PLAIN,
    AUTH_MD5,
    AUTH_CERT,
    AUTH_HBA,
    AUTH_LDAP,
    AUTH_PAM,
    AUTH_SCRAM_SHA_256,
    AUTH_PASSTHROUGH
};

enum channel_binding { CHANNEL_BINDING_DISABLE, CHANNEL_BINDING_PREFER, CHANNEL_BINDING_REQUIRE };
enum cancel_tls { CANCEL_TLS_ALLOW, CANCEL_TLS_REQUIRE };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };
enum cancel_on_disconnect { CANCEL_ON_DISCONNECT_ALWAYS, CANCEL_ON_DISCONNECT_NEVER };

#define SETTING_TYPE_AUDIT           enum log_audit
#define SETTING_TYPE_INT             int
#define SETTING_TYPE_UINT            unsigned
#define SETTING_TYPE_TIME            usec_t
#define SETTING_TYPE_STRING          const char *
#define SETTING_TYPE_SECRET          const char *
#define SETTING_TYPE_WORDS           const char *
#define SETTING_TYPE_NAMES           const char *
#define SETTING_TYPE_POOL_MODE       enum pool_mode
#define SETTING_TYPE_AUTH_TYPE       enum auth_type
#define SETTING_TYPE_TLS_MODE        enum tls_mode
#define SETTING_TYPE_LOG_FORMAT      enum log_format
#define SETTING_TYPE_DISCONNECT_MODE enum cancel_on_disconnect
#define SETTING_TYPE_CHANNEL_BINDING enum channel_binding
#define SETTING_TYPE_SESSION_STATE   enum session_state
#define SETTING_TYPE_CANCEL_TLS      enum cancel_tls
#define SETTING_TYPE_SESSION_PROBE   enum session_probe_when
#define SETTING_TYPE_FOLLOW_UNKNOWN  enum follow_unknown

struct settings {
#define OPTION(name, type, ...) SETTING_TYPE_##type name;
#include "config/options.def"
};

#undef SETTING_TYPE_AUDIT
#undef SETTING_TYPE_INT
#undef SETTING_TYPE_UINT
#undef SETTING_TYPE_TIME
#undef SETTING_TYPE_STRING
#undef SETTING_TYPE_SECRET
#undef SETTING_TYPE_WORDS
#undef SETTING_TYPE_NAMES
#undef SETTING_TYPE_POOL_MODE
#undef SETTING_TYPE_AUTH_TYPE
#undef SETTING_TYPE_TLS_MODE
#undef SETTING_TYPE_LOG_FORMAT
#undef SETTING_TYPE_DISCONNECT_MODE
#undef SETTING_TYPE_CHANNEL_BINDING
#undef SETTING_TYPE_SESSION_STATE
#undef SETTING_TYPE_CANCEL_TLS
#undef SETTING_TYPE_SESSION_PROBE
#undef SETTING_TYPE_FOLLOW_UNKNOWN
