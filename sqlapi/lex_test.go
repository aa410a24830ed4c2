package sqlapi

import (
	"regexp"
	"strings"
	"testing"

	pgquerypb "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"
	"pgregory.net/rapid"
)

// boundary is where a token that can hide a semicolon, or a semicolon itself, begins and ends.
type boundary struct{ start, end int }

// ours returns the boundaries our lexer finds, and whether it accepts the text.
func ours(text string) ([]boundary, bool) {
	l := &lexer{src: text}
	var found []boundary
	for {
		t, err := l.next()
		if err != nil {
			return nil, false
		}
		switch {
		case t.kind == kindEOF:
			return found, true
		case t.isText(), t.kind == kindQuoted, t.kind == kindUnicodeQuoted, l.punct(t) == ';':
			found = append(found, boundary{t.start, t.end})
		}
	}
}

// theirs returns the boundaries PostgreSQL's own scanner finds, and whether it accepts the text.
func theirs(text string) ([]boundary, bool) {
	result, err := pgquery.Scan(text)
	if err != nil {
		return nil, false
	}
	var found []boundary
	for _, t := range result.GetTokens() {
		token := text[t.GetStart():t.GetEnd()]
		switch t.GetToken() {
		case pgquerypb.Token_SCONST, pgquerypb.Token_USCONST, pgquerypb.Token_BCONST, pgquerypb.Token_XCONST, pgquerypb.Token_UIDENT, pgquerypb.Token_ASCII_59:
			found = append(found, boundary{int(t.GetStart()), int(t.GetEnd())})
		case pgquerypb.Token_IDENT:
			if strings.HasPrefix(token, `"`) {
				found = append(found, boundary{int(t.GetStart()), int(t.GetEnd())})
			}
		}
	}
	return found, true
}

// pieces are what lexers are tripped up by. A random sequence of them hits every pair of states.
var pieces = []string{
	"'", "''", `"`, `""`, "E'", "e'", "U&'", `U&"`, "u&", "B'", "X'", "N'", `\`, `\'`, `\\`, "$", "$$", "$a$", "$a", "a$", "$1", "$1 ", "a$a$",
	"--", "/*", "*/", "/", "*", "-", "\n", "\r", " ", "\t", "\v", ";", "(", ")", "a", "E", "b", "ü", "1", "1.5", ".", "=", "+", "select", "x y",
}

// continued matches a literal that may go on after a comment. The scanner at hand returns comments as tokens and therefore ends the literal
// there, which the server does not; testdata/split-plain.txt has that case.
var continued = regexp.MustCompile(`'\s*--[^\n\r]*[\n\r]`)

// TestLexerAgreesWithPostgreSQL compares our token boundaries with those of PostgreSQL's scanner: a disagreement would let a client
// hide a statement. A text that one of them refuses is not executed at all.
func TestLexerAgreesWithPostgreSQL(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 1, 14).Draw(t, "pieces"), "")
		got, accepted := ours(text)
		want, possible := theirs(text)
		if !accepted || !possible || continued.MatchString(text) {
			return
		}
		if len(got) != len(want) {
			t.Fatalf("%q: got %v, want %v", text, got, want)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("%q: token %d: got %v, want %v", text, i, got, want)
			}
		}
	})
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`'it''s \n'`:                       `it's \n`,
		"'a' -- note\n 'b'":                "ab",
		"E'a'\n'\\x41'":                    "aA",
		`E'\'\\\b\f\n\r\t\v\q'''`:          "'\\\b\f\n\r\t\vq'",
		`e'\101\x4\x42g\u00e4\U0001F600'`:  "A\x04Bgä😀",
		`E'\ud83d\ude00'`:                  "😀",
		`U&'\00e4\+01F600\\ \d83d\de00'''`: `ä😀\ 😀'`,
		`U&'!00e4\' UESCAPE '!'`:           `ä\`,
		`$$a'b$c$$`:                        "a'b$c",
		`$ä1$x$$y$ä1$`:                     "x$$y",
	} {
		p := &parser{lexer: lexer{src: text}}
		if err := p.scan(); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := p.literal("a text"); p.err != nil || got != want || p.peek().kind != kindEOF {
			t.Errorf("%s: got %q, %v; want %q", text, got, p.err, want)
		}
	}
	for _, text := range []string{`E'\u12'`, `E'\ud800'`, `E'\ud800\u0041'`, `E'\U00110000'`, `E'\0'`, `E'\xff'`, `U&'\12'`, `U&'\+12345'`, `U&'\0000'`, `U&'\'`} {
		p := &parser{lexer: lexer{src: text}}
		if err := p.scan(); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := p.literal("a text"); p.err == nil {
			t.Errorf("%s: taken as %q", text, got)
		}
	}
}

func TestFoldIsASCII(t *testing.T) {
	t.Parallel()
	if got := fold("\u00c4BC\u017f\u212a"); got != "\u00c4bc\u017f\u212a" {
		t.Errorf("fold: %q", got)
	}
	// Long s and the Kelvin sign fold to s and k under Unicode's rules; they must not make a keyword.
	if _, err := Parse("\u017fhow \u017fync ta\u212as"); err == nil {
		t.Error("a keyword of non-ASCII letters was taken")
	}
}
