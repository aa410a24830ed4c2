package endpoint

import (
	"maps"
	"math"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// settings is a connection string after all its files were read and all its
// values checked.
type settings struct {
	hosts                    []host
	database, user, password string
	options                  string
	connectTimeout           time.Duration // 0 waits for ever
	keepAlive                net.KeepAliveConfig
	userTimeout              time.Duration // 0 is the system's
	sessionAttrs             string
	shuffle                  bool
	channelBinding           string
	requireAuth              string
	minProtocol, maxProtocol string
	tls                      tlsSettings
	traffic                  *Traffic // of all connections; nil where nobody counts
}

// host is one element of the host list. A name that starts with "/" is a
// directory with a Unix socket.
type host struct {
	name    string // as written; certificates are verified against it
	address string // hostaddr, or the name
	port    uint16
}

func (h host) socket() bool { return strings.HasPrefix(h.address, "/") }

const (
	defaultPort           = "5432"
	defaultServiceFile    = "pg_service.conf"
	defaultConnectTimeout = 10 * time.Second
)

func parse(text string, o Options) (*settings, error) {
	values, err := tokenize(text)
	if err != nil {
		return nil, err
	}
	f := files{dir: o.FilesDir}
	if values, err = withService(values, f); err != nil {
		return nil, err
	}
	s := &settings{
		database:       values["dbname"],
		user:           values["user"],
		password:       values["password"],
		options:        values["options"],
		sessionAttrs:   values["target_session_attrs"],
		shuffle:        values["load_balance_hosts"] == "random",
		channelBinding: values["channel_binding"],
		requireAuth:    values["require_auth"],
		minProtocol:    values["min_protocol_version"],
		maxProtocol:    values["max_protocol_version"],
	}
	if s.user == "" {
		return nil, invalid("user", "is required")
	}
	if s.database == "" {
		s.database = s.user
	}
	if s.hosts, err = hostList(values, o.AllowSocket); err != nil {
		return nil, err
	}
	if err := s.readTimes(values); err != nil {
		return nil, err
	}
	if err := s.readPassword(values, f); err != nil {
		return nil, err
	}
	if err := checkAuthMethods(s.requireAuth); err != nil {
		return nil, err
	}
	if s.minProtocol != "" && s.minProtocol != "3.0" && s.maxProtocol == "3.0" {
		return nil, invalid("min_protocol_version", "is greater than max_protocol_version")
	}
	s.tls, err = readTLS(values, f, o.RootCA)
	return s, err
}

// withService checks the keywords and merges in those of the service they name.
func withService(values map[string]string, f files) (map[string]string, error) {
	if err := checkKeywords(values); err != nil {
		return nil, err
	}
	name, path := values["service"], values["servicefile"]
	if name == "" {
		if path != "" {
			return nil, invalid("servicefile", "needs the keyword service as well")
		}
		return values, nil
	}
	if path == "" {
		path = filepath.Join(f.dir, defaultServiceFile)
	}
	merged, err := f.service(path, name)
	if err != nil {
		return nil, err
	}
	if err := checkKeywords(merged); err != nil {
		return nil, err
	}
	maps.Copy(merged, values)
	return merged, nil
}

func hostList(values map[string]string, allowSocket bool) ([]host, error) {
	names, addresses := list(values["host"]), list(values["hostaddr"])
	switch {
	case names == nil && addresses == nil:
		return nil, invalid("host", "is required")
	case names == nil:
		names = addresses
	case addresses != nil && len(addresses) != len(names):
		return nil, invalid("hostaddr", "names %d addresses for %d hosts", len(addresses), len(names))
	}
	ports := list(values["port"])
	if ports == nil {
		ports = []string{defaultPort}
	}
	if len(ports) != 1 && len(ports) != len(names) {
		return nil, invalid("port", "names %d ports for %d hosts", len(ports), len(names))
	}
	hosts := make([]host, len(names))
	for i, name := range names {
		h := host{name: name, address: name}
		if addresses != nil && addresses[i] != "" {
			h.address = addresses[i]
			if net.ParseIP(h.address) == nil {
				return nil, invalid("hostaddr", "must be an IP address")
			}
		}
		if h.name == "" {
			h.name = h.address
		}
		port, err := parsePort(ports[min(i, len(ports)-1)])
		if err != nil {
			return nil, err
		}
		h.port = port
		switch {
		case h.address == "":
			return nil, invalid("host", "an element of the list is empty")
		case strings.HasPrefix(h.address, "@"):
			return nil, invalid("host", "abstract sockets are not supported")
		case strings.ContainsAny(h.address, blanks):
			return nil, invalid("host", "contains white space")
		case h.socket() && !allowSocket:
			return nil, invalid("host", "Unix sockets are not allowed here")
		}
		hosts[i] = h
	}
	return hosts, nil
}

func list(value string) []string {
	if value == "" {
		return nil
	}
	return strings.Split(value, ",")
}

func parsePort(text string) (uint16, error) {
	if text == "" {
		text = defaultPort
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, invalid("port", "must be an integer from 1 to 65535")
	}
	return uint16(port), nil
}

func (s *settings) readTimes(values map[string]string) error {
	seconds := func(name string, unit, missing time.Duration) (time.Duration, error) {
		if values[name] == "" {
			return missing, nil
		}
		n, err := strconv.ParseInt(values[name], 10, 32)
		if err != nil || n < 0 {
			return 0, invalid(name, "must be an integer from 0 to %d", math.MaxInt32)
		}
		return time.Duration(n) * unit, nil
	}
	s.keepAlive = net.KeepAliveConfig{Enable: values["keepalives"] != "0"}
	count, err := seconds("keepalives_count", 1, 3)
	s.keepAlive.Count = int(count)
	for _, field := range []struct {
		name          string
		target        *time.Duration
		unit, missing time.Duration
	}{
		{"connect_timeout", &s.connectTimeout, time.Second, defaultConnectTimeout},
		{"keepalives_idle", &s.keepAlive.Idle, time.Second, 30 * time.Second},
		{"keepalives_interval", &s.keepAlive.Interval, time.Second, 10 * time.Second},
		{"tcp_user_timeout", &s.userTimeout, time.Millisecond, 0},
	} {
		if err == nil {
			*field.target, err = seconds(field.name, field.unit, field.missing)
		}
	}
	return err
}

// readPassword takes the password from the passfile when the connection string
// itself has none.
func (s *settings) readPassword(values map[string]string, f files) error {
	if values["passfile"] == "" || s.password != "" {
		return nil
	}
	entries, err := f.passwords(values["passfile"])
	if err != nil {
		return err
	}
	for i, h := range s.hosts {
		port := strconv.Itoa(int(h.port))
		password := entries.find(h.name, port, s.database, s.user)
		if password == "" && h.socket() {
			password = entries.find("localhost", port, s.database, s.user)
		}
		if i > 0 && password != s.password {
			return invalid("passfile", "hosts with different passwords are not supported")
		}
		s.password = password
	}
	return nil
}

var authMethods = []string{"password", "md5", "scram-sha-256", "none", "gss", "sspi", "oauth"}

func checkAuthMethods(text string) error {
	negated := 0
	methods := list(text)
	for _, method := range methods {
		name, not := strings.CutPrefix(method, "!")
		if not {
			negated++
		}
		if !slices.Contains(authMethods, name) {
			return invalid("require_auth", "knows the methods %s", strings.Join(authMethods, ", "))
		}
	}
	if negated != 0 && negated != len(methods) {
		return invalid("require_auth", "mixes negated and other methods")
	}
	return nil
}
