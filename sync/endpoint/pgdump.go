package endpoint

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// PgDump returns the arguments and the whole environment that make pg_dump
// connect to the endpoint. Secrets and certificates go into files of mode 0600
// in a directory of their own below dir, which cleanup removes; neither the
// command line nor the environment shows them. HOME is that directory, so that
// libpq finds none of the user's files.
func (e Endpoint) PgDump(dir string) (args, env []string, cleanup func() error, err error) {
	private, err := os.MkdirTemp(dir, "pg_dump-")
	if err != nil {
		return nil, nil, nil, fmt.Errorf("pg_dump credentials: %w", err)
	}
	cleanup = func() error { return os.RemoveAll(private) }
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("pg_dump credentials: %w", err), cleanup())
		}
	}()
	s := e.settings
	env = []string{"HOME=" + private, "PATH=" + os.Getenv("PATH"), "LC_ALL=C", "PGCLIENTENCODING=UTF8"}
	set := func(name, value string) {
		if value != "" {
			env = append(env, name+"="+value)
		}
	}
	file := func(name, variable string, content []byte) error {
		if len(content) == 0 {
			return nil
		}
		path := filepath.Join(private, name)
		set(variable, path)
		return os.WriteFile(path, content, 0o600)
	}
	names, addresses, ports := s.hostColumns()
	set("PGHOST", strings.Join(names, ","))
	if strings.Join(names, ",") != strings.Join(addresses, ",") {
		set("PGHOSTADDR", strings.Join(addresses, ","))
	}
	set("PGPORT", strings.Join(ports, ","))
	set("PGDATABASE", s.database)
	set("PGUSER", s.user)
	set("PGOPTIONS", s.options)
	set("PGAPPNAME", "pgsyncd pg_dump")
	set("PGCONNECT_TIMEOUT", strconv.Itoa(int(s.connectTimeout/time.Second)))
	set("PGTARGETSESSIONATTRS", s.sessionAttrs)
	set("PGCHANNELBINDING", s.channelBinding)
	set("PGREQUIREAUTH", s.requireAuth)
	s.tls.variables(set)
	passwords, err := s.passfile()
	if err != nil {
		return nil, nil, nil, err
	}
	for _, f := range []struct {
		name, variable string
		content        []byte
	}{
		{"passfile", "PGPASSFILE", passwords},
		{"root.pem", "PGSSLROOTCERT", s.tls.rootPEM},
		{"client.pem", "PGSSLCERT", s.tls.certPEM},
		{"client.key", "PGSSLKEY", s.tls.keyPEM},
	} {
		if err := file(f.name, f.variable, f.content); err != nil {
			return nil, nil, nil, err
		}
	}
	return []string{"--no-password", "--dbname=" + s.keepAliveKeywords()}, env, cleanup, nil
}

func (s *settings) hostColumns() (names, addresses, ports []string) {
	for _, h := range s.hosts {
		names = append(names, h.name)
		addresses = append(addresses, h.address)
		ports = append(ports, strconv.Itoa(int(h.port)))
	}
	return names, addresses, ports
}

// passfile holds one line per host; it is never empty, so that libpq does not
// look elsewhere.
func (s *settings) passfile() ([]byte, error) {
	if strings.ContainsAny(s.password, "\r\n") {
		return nil, errors.New("a password with a line break cannot be handed to pg_dump")
	}
	var b strings.Builder
	for _, h := range s.hosts {
		if h.socket() {
			b.WriteString(passwordEntry("localhost", strconv.Itoa(int(h.port)), "*", s.user, s.password))
		}
		b.WriteString(passwordEntry(h.name, strconv.Itoa(int(h.port)), "*", s.user, s.password))
	}
	return []byte(b.String()), nil
}

func (t *tlsSettings) variables(set func(name, value string)) {
	set("PGSSLMODE", t.mode)
	set("PGSSLNEGOTIATION", t.negotiation)
	set("PGSSLCERTMODE", t.certMode)
	if t.noSNI {
		set("PGSSLSNI", "0")
	}
	if t.system {
		set("PGSSLROOTCERT", "system")
	}
	set("PGSSLMINPROTOCOLVERSION", versionName(t.minimum))
	set("PGSSLMAXPROTOCOLVERSION", versionName(t.maximum))
	set("PGGSSENCMODE", "disable")
}

// keepAliveKeywords are those that have no environment variable; the rest of the
// connection string follows from the environment.
func (s *settings) keepAliveKeywords() string {
	enabled := 0
	if s.keepAlive.Enable {
		enabled = 1
	}
	return fmt.Sprintf("keepalives=%d keepalives_idle=%d keepalives_interval=%d keepalives_count=%d tcp_user_timeout=%d",
		enabled, int(s.keepAlive.Idle/time.Second), int(s.keepAlive.Interval/time.Second), s.keepAlive.Count,
		s.userTimeout.Milliseconds())
}
