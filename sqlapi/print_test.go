package sqlapi

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// sameStatement compares statements but for the positions of objects and expressions. Secrets are compared as they are, not as they print.
var sameStatement = cmp.Options{
	cmpopts.IgnoreFields(Expr{}, "Position"), cmpopts.IgnoreFields(Object{}, "Position"),
	cmp.Comparer(func(a, b Secret) bool { return a.Reveal() == b.Reveal() }),
}

// Not parallel, like everything that draws from the generators: rapid's are not safe for concurrent use.
func TestParseReadsWhatPrintWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := statementOf.Draw(t, "statement")
		text := Print(s, PrintOptions{})
		back, err := Parse(text)
		if err != nil {
			t.Fatalf("%s\n%s", text, showError(AsError(err), text))
		}
		if diff := cmp.Diff(s, back, sameStatement); diff != "" {
			t.Fatalf("%s\n%s", text, diff)
		}
		if f := FormOf(s); !strings.HasPrefix(text, f.Tag) {
			t.Fatalf("%s does not begin with %s", text, f.Tag)
		}
		segments, err := Split("SELECT 1; " + text + " ; SELECT 2")
		if err != nil || len(segments) != 3 || segments[1].Kind != Control || segments[1].Text != text {
			t.Fatalf("%s: split into %v, %v", text, segments, err)
		}
	})
}

func TestEveryFormIsGenerated(t *testing.T) {
	seen := map[*Form]bool{}
	for seed := range 2000 {
		seen[FormOf(statementOf.Example(seed))] = true
	}
	for _, f := range forms {
		if !seen[f] {
			t.Errorf("%s is never generated", f.Tag)
		}
	}
}

func TestSecretsStaySecret(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	for _, text := range []string{
		"CREATE SYNC TASK shop FROM 'password=hunter2' TO 'hunter2'",
		"ALTER SYNC TASK shop SET SOURCE 'password=hunter2'",
		"ALTER SYNC TASK shop SET DESTINATION PASSWORD 'hunter2'",
		"TEST SYNC CONNECTION 'password=hunter2'",
		"CREATE SYNC USER ann PASSWORD 'hunter2' ROLE ADMIN",
		"ALTER SYNC USER ann PASSWORD 'hunter2'",
		"EXPLAIN CREATE SYNC TASK shop FROM 'password=hunter2' TO 'hunter2'",
	} {
		s, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		redacted := Print(s, PrintOptions{Redact: true})
		if _, err := Parse(redacted); err != nil {
			t.Errorf("%s: %v", redacted, err)
		}
		for _, shown := range []string{redacted, fmt.Sprintf("%v %+v %#v %s %x %d", s, s, s, s, s, s)} {
			if strings.Contains(shown, secret) || strings.Contains(shown, fmt.Sprintf("%x", secret)) {
				t.Errorf("%s shows as %s", text, shown)
			}
		}
	}
	for _, text := range []string{
		"CREATE SYNC USER ann PASSWORD 'hunter2",
		"CREATE SYNC USER ann PASSWORD 'it's hunter2'",
		`ALTER SYNC USER" ann PASSWORD $q$x"hunter2$q$`,
		"CREATE SYNC USER ann PASSWORD 'a'hunter2'b'",
		"CREATE SYNC USER ann 'hunter2'",
		"CREATE SYNC USER ann PASSWORD $a$hunter2$b$",
		"CREATE SYNC USER ann PASSWORD E'hunter2\\u0'",
		"CREATE SYNC TASK shop FROM 'x' TO 'y' WITH (source_ssl_ca = 'hunter2')",
		"ALTER SYNC TASK shop SET (retry_limit = 'hunter2')",
	} {
		_, err := Parse(text)
		if err == nil {
			t.Errorf("%s: taken", text)
			continue
		}
		if shown := fmt.Sprintf("%+v", *AsError(err)); strings.Contains(shown, secret) {
			t.Errorf("%s: error shows %s", text, shown)
		}
	}
}

func TestShiftedPosition(t *testing.T) {
	t.Parallel()
	query := "SELECT 'ü'; START SYNC TSAK x"
	segments, err := Split(query)
	if err != nil {
		t.Fatal(err)
	}
	control := segments[1]
	_, err = Parse(control.Text)
	if got, want := AsError(err).Shift(control.Chars).Position, strings.Index(query, "TSAK"); got != want {
		t.Errorf("position %d, want %d", got, want) // the index counts one byte more, the position from 1
	}
}
