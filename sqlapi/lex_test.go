package sqlapi

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestLexerAgreesWithPostgreSQL compares our tokens with those of PostgreSQL's own scanner, recorded in testdata/boundaries.list from
// libpg_query: random texts made of what lexers are tripped up by, each followed by the byte ranges of the tokens that can hide a
// semicolon and of the semicolons themselves. A disagreement would let a client hide a statement. Ours may refuse a text where
// versions of PostgreSQL differ; such a text is not executed at all.
func TestLexerAgreesWithPostgreSQL(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/boundaries.list")
	if err != nil {
		t.Fatal(err)
	}
	refused, lines := 0, strings.Split(strings.TrimSpace(string(data)), "\n")
	for _, line := range lines {
		var text string
		if _, err := fmt.Sscanf(line, "%q", &text); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		got, accepted := boundaries(text)
		if !accepted {
			refused++
			continue
		}
		if want := strings.TrimPrefix(line, fmt.Sprintf("%q", text)); got != want {
			t.Errorf("%q: got%s, want%s", text, got, want)
		}
	}
	if refused > len(lines)/10 {
		t.Errorf("%d of %d texts refused", refused, len(lines))
	}
}

// boundaries returns the ranges our lexer finds, and whether it takes the text.
func boundaries(text string) (string, bool) {
	l := &lexer{src: text}
	var b strings.Builder
	for {
		t, err := l.next()
		if err != nil {
			return "", false
		}
		switch {
		case t.kind == kindEOF:
			return b.String(), true
		case t.isText(), t.kind == kindQuoted, t.kind == kindUnicodeQuoted, l.punct(t) == ';':
			fmt.Fprintf(&b, " %d-%d", t.start, t.end)
		}
	}
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
