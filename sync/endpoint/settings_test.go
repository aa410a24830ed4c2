package endpoint_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgsyncd/sync/endpoint"
)

func TestRefusedStrings(t *testing.T) {
	t.Parallel()
	for conninfo, keyword := range map[string]string{
		"user=u":                                                          "host",
		"host=h":                                                          "user",
		"host=h user=u port=0":                                            "port",
		"host=h user=u port=65536":                                        "port",
		"host=h user=u port=1,2":                                          "port",
		"host=h,,i user=u":                                                "host",
		"host=/run user=u":                                                "host",
		"host=@abstract user=u":                                           "host",
		"host=h hostaddr=name user=u":                                     "hostaddr",
		"host=h hostaddr=1.2.3.4,5.6.7.8 user=u":                          "hostaddr",
		"host=h user=u nonsense=1":                                        "nonsense",
		"host=h user=u sslmode=sometimes":                                 "sslmode",
		"host=h user=u sslmode=verify-full":                               "sslmode",
		"host=h user=u sslmode=prefer sslnegotiation=direct":              "sslnegotiation",
		"host=h user=u krbsrvname=x":                                      "krbsrvname",
		"host=h user=u gssencmode=require":                                "gssencmode",
		"host=h user=u replication=database":                              "replication",
		"host=h user=u connect_timeout=soon":                              "connect_timeout",
		"host=h user=u keepalives_idle=-1":                                "keepalives_idle",
		"host=h user=u require_auth=magic":                                "require_auth",
		"host=h user=u require_auth=!md5,none":                            "require_auth",
		"host=h user=u target_session_attrs=fast":                         "target_session_attrs",
		"host=h user=u client_encoding=LATIN1":                            "client_encoding",
		"host=h user=u passfile=/etc/passwd":                              "passfile",
		"host=h user=u sslrootcert=ca.pem":                                "sslrootcert",
		"host=h user=u service=s":                                         "service",
		"host=h user=u sslcert=c":                                         "sslcert",
		"host=h user=u min_protocol_version=3.2 max_protocol_version=3.0": "min_protocol_version",
		"host=h user=u ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.2": "ssl_min_protocol_version",
	} {
		_, err := endpoint.Parse(conninfo, endpoint.Options{})
		bad, ok := errors.AsType[*endpoint.ConnInfoError](err)
		if !ok || bad.Keyword != keyword {
			t.Errorf("%s: %v, want an error about %s", conninfo, err, keyword)
		}
		if endpoint.Classify(fmt.Errorf("task: %w", err)) != endpoint.FaultPermanent {
			t.Errorf("%s: is retried", conninfo)
		}
	}
}

func TestAccessors(t *testing.T) {
	t.Parallel()
	e := parse(t, "postgres://us%20er:p@[::1]:6432,%2Frun:7/my%27db?sslmode=require", endpoint.Options{AllowSocket: true})
	if e.Host() != "::1" || e.Port() != 6432 || e.User() != "us er" || e.Database() != "my'db" || !e.IsSocket() || e.SSLMode() != "require" {
		t.Errorf("%s", e)
	}
	other := e.WithDatabase("x")
	if other.Database() != "x" || e.Database() != "my'db" {
		t.Errorf("%s, %s", e, other)
	}
	again := parse(t, e.String(), endpoint.Options{AllowSocket: true})
	if again.String() != e.String() {
		t.Errorf("%s became %s", e, again)
	}
}

func write(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func TestFilesStayInside(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	dir, outside := filepath.Join(base, "conninfo"), filepath.Join(base, "outside")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, outside, "h:5432:u:u:outside-secret\n", 0o600)
	write(t, filepath.Join(dir, "pass"), "# comment\n*:1:*:*:wrong\nh\\:x:5432:*:u:other\nh:*:u:u:in:si\\\\de\n", 0o600)
	write(t, filepath.Join(dir, "open"), "*:*:*:*:p\n", 0o644)
	write(t, filepath.Join(dir, "pg_service.conf"),
		"[other]\nhost=wrong\n[mine]\n# comment\nhost=h\nuser=u\npassfile=pass\n[third]\nhost=x\n[bad]\nuser=u\nhost=h\npassfile=../outside\n", 0o600)
	for from, to := range map[string]string{"link": outside, "inner": "pass", "absolute": filepath.Join(dir, "pass")} {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	options := endpoint.Options{FilesDir: dir}
	for _, good := range []string{
		"host=h user=u passfile=pass", "host=h user=u passfile=" + dir + "/pass", "host=h user=u passfile=inner",
		"host=h user=u passfile=absolute", "service=mine", "service=mine servicefile=pg_service.conf", "postgres://u@h?passfile=pass",
	} {
		e := parse(t, good, options)
		if got := e.Redact(`<in:si\de>`); got != "<****>" {
			t.Errorf("%s: the password was not found", good)
		}
	}
	for _, bad := range []string{
		"host=h user=u passfile=../outside", "host=h user=u passfile=" + outside, "host=h user=u passfile=link",
		"host=h user=u passfile=open", "host=h user=u passfile=.", "host=h user=u passfile=missing", "service=missing", "service=bad",
		"host=h user=u sslrootcert=pass", "host=h user=u servicefile=pg_service.conf",
	} {
		if _, err := endpoint.Parse(bad, options); err == nil {
			t.Errorf("%s: accepted", bad)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestCASize(t *testing.T) {
	t.Parallel()
	for _, ca := range []string{"no certificate", strings.Repeat("x", 500_001)} {
		if _, err := endpoint.Parse("host=h user=u", endpoint.Options{RootCA: ca}); err == nil {
			t.Errorf("%.20s: accepted", ca)
		}
	}
}

// TestSecretsAreNeverShown prints an endpoint and its errors in every way.
func TestSecretsAreNeverShown(t *testing.T) {
	t.Parallel()
	const odd = `tøp's "secret"\ 50%`
	conninfo := `host=127.0.0.1 port=1 user=u dbname=d sslpassword='key-secret' options='-c x=1' password='` +
		strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(odd) + `'`
	e := parse(t, conninfo, endpoint.Options{})
	_, connectErr := e.Connect(testContext(t), "test")
	if connectErr == nil {
		t.Fatal("connected to port 1")
	}
	wrapped := fmt.Errorf("copy public.t: %w", connectErr)

	var log bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&log, nil), slog.NewTextHandler(&log, nil)} {
		slog.New(handler).Info("x", "endpoint", e, "value", *e, "error", wrapped, "any", []any{e, *e, connectErr})
	}
	marshalled, err := json.Marshal(map[string]any{"pointer": e, "value": *e, "struct": struct{ E any }{*e}})
	if err != nil {
		t.Fatal(err)
	}
	shown := []string{log.String(), string(marshalled), e.String(), e.GoString(), e.Redact("password: " + odd + " key-secret")}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		for _, value := range []any{e, *e, connectErr, wrapped, struct{ E *endpoint.Endpoint }{e}, []endpoint.Endpoint{*e}} {
			shown = append(shown, fmt.Sprintf(verb, value))
		}
	}
	d := endpoint.Diagnose(wrapped)
	shown = append(shown, fmt.Sprintf("%+v", d))
	for _, text := range shown {
		for _, part := range []string{"secret", "tøp", "50%", "t%C3%B8p", "-c x=1"} {
			if strings.Contains(text, part) {
				t.Errorf("%s shows %s", text, part)
			}
		}
	}
	if d.Cause != endpoint.CauseRefused {
		t.Errorf("%+v", d)
	}
}

// TestRedactShortSecrets: a secret of few letters does not take them out of everything that is said.
func TestRedactShortSecrets(t *testing.T) {
	t.Parallel()
	e := parse(t, "host=h user=u password=é1", endpoint.Options{})
	for text, want := range map[string]string{
		"password=é1 user=x": "password=**** user=x", "café1 é1é1 é12 é1": "café1 é1é1 é12 ****", "'é1'": "'****'", "é1": "****", "": "",
	} {
		if got := e.Redact(text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
