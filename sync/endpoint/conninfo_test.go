package endpoint

import (
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestTokenize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]map[string]string{
		"":                                  {},
		"  \n":                              {},
		"host=h user = u dbname =d":         {"host": "h", "user": "u", "dbname": "d"},
		`password='it''' user=u`:            nil,
		`password='it\'s \\ x' user=u`:      {"password": `it's \ x`, "user": "u"},
		`password=a\ b\`:                    {"password": "a b"},
		"user= host=h":                      {"user": "host=h"}, // blanks after the "=" are skipped, as in libpq
		"user=''host=h":                     {"user": "", "host": "h"},
		"user=a user=b":                     {"user": "b"},
		"user":                              nil,
		"us er=x":                           nil,
		"=x":                                nil,
		"password='open":                    nil,
		"postgres://":                       {},
		"postgres://h":                      {"host": "h"},
		"postgresql://u@h/d":                {"user": "u", "host": "h", "dbname": "d"},
		"postgres://u:p%40%2F@h:1/d%20e":    {"user": "u", "password": "p@/", "host": "h", "port": "1", "dbname": "d e"},
		"postgres://u:@h":                   {"user": "u", "password": "", "host": "h"},
		"postgres://[2001:db8::1]:6/d":      {"host": "2001:db8::1", "port": "6", "dbname": "d"},
		"postgres://[::1],b:7,c/d":          {"host": "::1,b,c", "port": ",7,", "dbname": "d"},
		"postgres://%2Frun%2Fpg/d":          {"host": "/run/pg", "dbname": "d"},
		"postgres:///d?host=/run&user=u%26": {"dbname": "d", "host": "/run", "user": "u&"},
		"postgres://h?ssl=true":             {"host": "h", "sslmode": "require"},
		"postgres://h/?options=-c%20a%3Db":  {"host": "h", "options": "-c a=b"},
		"postgres://h/d?user":               nil,
		"postgres://h/d?user=a=b":           nil,
		"postgres://[::1":                   nil,
		"postgres://[::1]x":                 nil,
		"postgres://h/%zz":                  nil,
		"postgres://h/%00":                  nil,
		"host=h\x00user=u":                  nil,
	} {
		got, err := tokenize(text)
		if want == nil {
			if err == nil {
				t.Errorf("%q: no error, but %v", text, got)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

// values draws keywords with any values that a connection string can carry.
func values(t *rapid.T) map[string]string {
	value := rapid.StringOf(rapid.Rune().Filter(func(r rune) bool { return r != 0 }))
	return rapid.MapOf(rapid.SampledFrom(slices.Sorted(maps.Keys(keywords))), value).Draw(t, "values")
}

func TestKeywordsPrintAndParse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := values(t)
		var b strings.Builder
		for _, name := range slices.Sorted(maps.Keys(want)) {
			b.WriteString(rapid.SampledFrom([]string{"", " ", "\t\n"}).Draw(t, "blank"))
			b.WriteString(name + "=" + quote(want[name]) + " ")
		}
		got, err := tokenize(b.String())
		if err != nil {
			t.Fatalf("%q: %v", b.String(), err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%q (-want +got):\n%s", b.String(), diff)
		}
	})
}

func TestURLsPrintAndParse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := values(t)
		delete(want, "host")
		delete(want, "port")
		var parameters []string
		for _, name := range slices.Sorted(maps.Keys(want)) {
			if name != "user" && name != "password" && name != "dbname" {
				parameters = append(parameters, name+"="+strings.ReplaceAll(url.QueryEscape(want[name]), "+", "%20"))
			}
		}
		text := "postgres://"
		if user, ok := want["user"]; ok {
			text += escapeURL(user)
			if password, ok := want["password"]; ok {
				text += ":" + escapeURL(password)
			}
			text += "@"
		} else {
			delete(want, "password")
		}
		want["host"], want["port"] = "::1,/run", "5,6"
		text += "[::1]:5,%2Frun:6"
		if want["dbname"] != "" {
			text += "/" + escapeURL(want["dbname"])
		} else {
			delete(want, "dbname")
		}
		text += "?" + strings.Join(parameters, "&")
		got, err := tokenize(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%q (-want +got):\n%s", text, diff)
		}
	})
}

func escapeURL(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// FuzzParse looks for panics, and for errors that are not *ConnInfoError or that
// quote the password.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"host=h user=u password=s3cr3t-word port=5 sslmode=require", "postgres://u:s3cr3t-word@[::1]:5,b/d?sslmode=prefer",
		"postgres://u:s3cr3t-word/x@h", `password='s3cr3t-word" host=`, "hostaddr=::1 user=u service=x", "host=s3cr3t-word=1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := Parse(text, Options{})
		if err == nil {
			_ = e.String()
			return
		}
		if _, ok := errors.AsType[*ConnInfoError](err); !ok {
			t.Errorf("%T: %v", err, err)
		}
		if strings.Contains(err.Error(), "s3cr3t-word") {
			t.Errorf("%q shows the password", err)
		}
	})
}
