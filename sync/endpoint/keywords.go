package endpoint

import (
	"regexp"
	"slices"
	"strings"
)

// keyword says how one libpq keyword is treated. Exactly the keywords of
// https://www.postgresql.org/docs/18/libpq-connect.html#LIBPQ-PARAMKEYWORDS are
// known.
type keyword struct {
	refused string   // not empty: the reason why it may not be given
	values  []string // not nil: the only values it may have
}

const (
	noKerberos  = "Kerberos and GSSAPI are not supported"
	noCRL       = "certificate revocation lists are not supported"
	noKeys      = "SCRAM keys in place of a password are not supported"
	noOAuth     = "OAuth is not supported"
	noKeyLog    = "logging TLS keys is not supported"
	notYours    = "is set by pgsyncd where it is needed"
	tlsVersions = "TLSv1 TLSv1.1 TLSv1.2 TLSv1.3"
)

var keywords = map[string]keyword{
	"host": {}, "hostaddr": {}, "port": {}, "dbname": {}, "user": {}, "password": {},
	"passfile": {}, "service": {}, "servicefile": {}, "options": {},
	// Accepted and overridden: sessions carry the name of their task.
	"application_name": {}, "fallback_application_name": {},
	"client_encoding": oneOf("UTF8 utf8 UTF-8 utf-8 UNICODE unicode auto"),
	"connect_timeout": {}, "keepalives": oneOf("0 1"), "keepalives_idle": {},
	"keepalives_interval": {}, "keepalives_count": {}, "tcp_user_timeout": {},
	"target_session_attrs": oneOf("any read-write read-only primary standby prefer-standby"),
	"load_balance_hosts":   oneOf("disable random"),
	"channel_binding":      oneOf("disable prefer require"),
	"require_auth":         {},
	"min_protocol_version": oneOf("3.0 3.2 latest"), "max_protocol_version": oneOf("3.0 3.2 latest"),
	"sslmode":        oneOf("disable allow prefer require verify-ca verify-full"),
	"sslnegotiation": oneOf("postgres direct"),
	"sslcertmode":    oneOf("disable allow require"),
	"sslsni":         oneOf("0 1"), "sslcompression": oneOf("0"),
	"sslrootcert": {}, "sslcert": {}, "sslkey": {}, "sslpassword": {},
	"ssl_min_protocol_version": oneOf(tlsVersions), "ssl_max_protocol_version": oneOf(tlsVersions),

	"replication": {refused: notYours},
	"gssencmode":  oneOf("disable prefer"), "krbsrvname": {refused: noKerberos},
	"gsslib": {refused: noKerberos}, "gssdelegation": {refused: noKerberos},
	"sslcrl": {refused: noCRL}, "sslcrldir": {refused: noCRL}, "sslkeylogfile": {refused: noKeyLog},
	"requirepeer":      {refused: "is not supported"},
	"requiressl":       {refused: "is obsolete: use sslmode=require"},
	"scram_client_key": {refused: noKeys}, "scram_server_key": {refused: noKeys},
	"oauth_issuer": {refused: noOAuth}, "oauth_client_id": {refused: noOAuth},
	"oauth_client_secret": {refused: noOAuth}, "oauth_scope": {refused: noOAuth},
}

func oneOf(list string) keyword { return keyword{values: strings.Fields(list)} }

var keywordShape = regexp.MustCompile(`^[a-z][a-z_]{0,39}$`)

// checkKeywords refuses what is unknown, refused or has an impossible value.
// Empty values mean "not given", as in libpq, and are removed.
func checkKeywords(values map[string]string) error {
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		known, ok := keywords[name]
		switch {
		case !ok && keywordShape.MatchString(name):
			return invalid(name, "is not a connection keyword of PostgreSQL")
		case !ok:
			// Not quoted: it may be part of a password that was not quoted.
			return malformed("contains a word that is not a connection keyword of PostgreSQL")
		case values[name] == "":
			delete(values, name)
		case known.refused != "":
			return invalid(name, "%s", known.refused)
		case known.values != nil && !slices.Contains(known.values, values[name]):
			return invalid(name, "must be one of %s", strings.Join(known.values, ", "))
		}
	}
	return nil
}
