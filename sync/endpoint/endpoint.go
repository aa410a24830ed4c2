package endpoint

import (
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Options says what a connection string may refer to.
type Options struct {
	FilesDir    string // files it names must lie below; empty: it may name none
	AllowSocket bool   // Unix sockets may be used
	RootCA      string // CA certificates, PEM, at most 500 KB; in place of sslrootcert
}

// Endpoint is one database: where it is and how to log in. It is immutable.
type Endpoint struct {
	// A pointer, so that printing an Endpoint with reflection shows an address.
	settings *settings
}

// Parse understands a connection string in either of libpq's forms and reads
// the files it names. Errors are *ConnInfoError.
func Parse(conninfo string, o Options) (*Endpoint, error) {
	s, err := parse(conninfo, o)
	if err != nil {
		return nil, err
	}
	return &Endpoint{settings: s}, nil
}

// Database returns the name of the database.
func (e Endpoint) Database() string { return e.settings.database }

// User returns the name of the login role.
func (e Endpoint) User() string { return e.settings.user }

// Host returns the first host: a name, an address or a socket directory.
func (e Endpoint) Host() string { return e.settings.hosts[0].name }

// Port returns the port of the first host.
func (e Endpoint) Port() uint16 { return e.settings.hosts[0].port }

// SSLMode returns the sslmode in force, disable to verify-full.
func (e Endpoint) SSLMode() string { return e.settings.tls.mode }

// IsSocket reports whether any host is a Unix socket.
func (e Endpoint) IsSocket() bool {
	return slices.ContainsFunc(e.settings.hosts, host.socket)
}

// WithDatabase returns the same server and login with another database.
func (e Endpoint) WithDatabase(name string) *Endpoint {
	s := *e.settings
	s.database = name
	return &Endpoint{settings: &s}
}

// String returns a connection string with host, port, dbname, user and sslmode
// only.
func (e Endpoint) String() string {
	if e.settings == nil {
		return "no endpoint"
	}
	var hosts, ports []string
	for _, h := range e.settings.hosts {
		hosts = append(hosts, h.name)
		ports = append(ports, strconv.Itoa(int(h.port)))
	}
	if len(slices.Compact(slices.Clone(ports))) == 1 {
		ports = ports[:1]
	}
	return fmt.Sprintf("host=%s port=%s dbname=%s user=%s sslmode=%s", quote(strings.Join(hosts, ",")),
		strings.Join(ports, ","), quote(e.settings.database), quote(e.settings.user), e.settings.tls.mode)
}

// GoString makes %#v print what String returns.
func (e Endpoint) GoString() string { return e.String() }

// Format makes every other verb print what String returns.
func (e Endpoint) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, e.String()) }

// LogValue makes slog print what String returns.
func (e Endpoint) LogValue() slog.Value { return slog.StringValue(e.String()) }

// MarshalText makes encoders print what String returns.
func (e Endpoint) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// short secrets are taken for secrets only where no letter or digit is beside them: the rest of a text would be unreadable.
const short = 4

// Redact replaces every secret of the endpoint in a text by asterisks.
func (e Endpoint) Redact(text string) string {
	for _, secret := range []string{e.settings.password, e.settings.tls.keySecret} {
		if secret == "" {
			continue
		}
		for _, form := range []string{
			secret, escapeQuoted(secret), escape(secret), strings.ReplaceAll(secret, "'", "''"),
			url.PathEscape(secret), url.QueryEscape(secret), url.UserPassword("", secret).String()[1:],
			strings.Trim(strconv.Quote(secret), `"`),
		} {
			if len(secret) < short {
				text = replaceWord(text, form, "****")
			} else {
				text = strings.ReplaceAll(text, form, "****")
			}
		}
	}
	return text
}

// replaceWord replaces what stands between characters that are neither letters nor digits.
func replaceWord(text, word, replacement string) string {
	inWord := func(r rune, _ int) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
	var b strings.Builder
	for done := 0; ; {
		at := strings.Index(text[done:], word)
		if at < 0 {
			return b.String() + text[done:]
		}
		at += done
		end := at + len(word)
		if inWord(utf8.DecodeLastRuneInString(text[:at])) || inWord(utf8.DecodeRuneInString(text[end:])) {
			_, size := utf8.DecodeRuneInString(text[at:])
			b.WriteString(text[done : at+size])
			done = at + size
			continue
		}
		b.WriteString(text[done:at] + replacement)
		done = end
	}
}

// quote writes a value of a keyword/value connection string.
func quote(value string) string {
	if value != "" && !strings.ContainsAny(value, `'\`+blanks) {
		return value
	}
	return "'" + escapeQuoted(value) + "'"
}

func escapeQuoted(value string) string {
	return strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value)
}
