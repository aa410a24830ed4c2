package schema

import (
	"errors"
	"regexp"
	"strings"

	pgquery "github.com/wasilibs/go-pgquery"
	"google.golang.org/protobuf/proto"
)

// The parser knows the syntax of PostgreSQL 17. What pg_dump writes for newer servers is put into older words around names that nobody
// else has, and back again after the statement is mapped.
const (
	markVirtual     = `"pgsyncd virtual"`          // GENERATED ALWAYS AS ((x) COLLATE mark) STORED
	markNotNull     = `"pgsyncd not null"`         // CHECK (column COLLATE mark), CHECK (NULL::mark)
	markNotEnforced = `"pgsyncd not enforced"`     // CHECK ((x) COLLATE mark), FOREIGN KEY (columns, mark)
	markOverlaps    = `"pgsyncd without overlaps"` // KEY (columns, mark)
	markPeriod      = `"pgsyncd period"`           // KEY (columns, mark, column)
)

// newer are the marks' replacements in a printed statement.
var newer = []struct {
	old *regexp.Regexp
	to  string
}{
	{regexp.MustCompile(` COLLATE ` + markVirtual + `\) STORED`), ")"},
	{regexp.MustCompile(`CHECK \(("(?:[^"]|"")+") COLLATE ` + markNotNull + `\)`), "NOT NULL $1"},
	{regexp.MustCompile(`CHECK \((\w+) COLLATE ` + markNotNull + `\)`), `NOT NULL "$1"`},
	{regexp.MustCompile(`CHECK \(NULL::` + markNotNull + `\)`), "NOT NULL"},
	{regexp.MustCompile(` COLLATE ` + markNotEnforced + `\)`), ") NOT ENFORCED"},
	{regexp.MustCompile(`, ` + markNotEnforced + `(\) REFERENCES [^;]*)`), "$1 NOT ENFORCED"},
	{regexp.MustCompile(`, ` + markOverlaps), " WITHOUT OVERLAPS"},
	{regexp.MustCompile(markPeriod + `, (\w+)`), `PERIOD "$1"`},
	{regexp.MustCompile(markPeriod + `, `), "PERIOD "},
}

// inNewerWords puts the words of newer servers into a printed statement, and checks that they are understood as they were.
func inNewerWords(sql string) (string, error) {
	to := sql
	for _, n := range newer {
		to = n.old.ReplaceAllString(to, n.to)
	}
	back, err := inOlderWords(to)
	if err != nil {
		return "", err
	}
	want, err := parseSQL(sql)
	if err != nil {
		return "", err
	}
	got, err := parseSQL(back)
	if err != nil {
		return "", err
	}
	forgetLocations(want.ProtoReflect())
	forgetLocations(got.ProtoReflect())
	if !proto.Equal(want, got) {
		return "", errors.New("cannot be rewritten faithfully")
	}
	return to, nil
}

// inOlderWords puts marks in the place of what the parser does not know.
func inOlderWords(sql string) (string, error) {
	result, err := locked(func() ([]token, error) {
		scan, err := pgquery.Scan(sql)
		if err != nil {
			return nil, err
		}
		words := make([]token, len(scan.Tokens))
		for i, t := range scan.Tokens {
			words[i] = token{text: sql[t.Start:t.End], start: int(t.Start), end: int(t.End)}
		}
		return words, nil
	})
	if err != nil {
		return "", err
	}
	s := sentence{sql: sql, words: result}
	for i := range s.words {
		s.older(i)
	}
	return s.String(), nil
}

// token is a word or sign of a statement with what is to stand before it, in its place, and after it.
type token struct {
	text          string
	start, end    int
	before, after string
	gone          bool
}

type sentence struct {
	sql   string
	words []token
}

// String puts the statement together again.
func (s *sentence) String() string {
	var b strings.Builder
	at := 0
	for _, w := range s.words {
		b.WriteString(s.sql[at:w.start] + w.before)
		if !w.gone {
			b.WriteString(w.text)
		}
		b.WriteString(w.after)
		at = w.end
	}
	return b.String() + s.sql[at:]
}

// are reports whether certain words stand at i.
func (s *sentence) are(i int, words ...string) bool {
	if i < 0 || i+len(words) > len(s.words) {
		return false
	}
	for n, w := range words {
		if !strings.EqualFold(s.words[i+n].text, w) {
			return false
		}
	}
	return true
}

// quoted reports whether a quoted name stands at i. pg_dump quotes every name.
func (s *sentence) quoted(i int) bool {
	return i < len(s.words) && strings.HasPrefix(s.words[i].text, `"`)
}

// closing finds the parenthesis that closes the one at i, opening the one that opens it; both return -1 if there is none.
func (s *sentence) closing(i int) int { return s.match(i, 1) }
func (s *sentence) opening(i int) int { return s.match(i, -1) }

func (s *sentence) match(i, step int) int {
	for depth := 0; i >= 0 && i < len(s.words); i += step {
		switch s.words[i].text {
		case "(":
			depth += step
		case ")":
			depth -= step
		}
		if depth == 0 {
			return i
		}
	}
	return -1
}

func (s *sentence) drop(i, n int) {
	for ; n > 0; n-- {
		s.words[i].gone = true
		i++
	}
}

// older marks what begins with the word at i.
func (s *sentence) older(i int) {
	switch {
	case s.are(i, "GENERATED", "ALWAYS", "AS", "("):
		if end := s.closing(i + 3); end > 0 && !s.are(end+1, "STORED") {
			s.words[i+3].after, s.words[end].before, s.words[end].after = "(", ") COLLATE "+markVirtual, " STORED"
			if s.are(end+1, "VIRTUAL") {
				s.drop(end+1, 1)
			}
		}
	case s.are(i, "NOT", "NULL") && s.quoted(i+2):
		s.drop(i, 2)
		s.words[i].after = "CHECK ("
		s.words[i+2].after = " COLLATE " + markNotNull + ")"
	case s.are(i, "NOT", "NULL", "NO", "INHERIT"):
		s.drop(i, 2)
		s.words[i].after = "CHECK (NULL::" + markNotNull + ")"
	case s.are(i, "NOT", "ENFORCED"):
		s.notEnforced(i)
	case s.are(i, "WITHOUT", "OVERLAPS"):
		s.drop(i, 2)
		s.words[i].after = ", " + markOverlaps
	case s.are(i, "PERIOD") && s.quoted(i+1):
		s.drop(i, 1)
		s.words[i].after = markPeriod + ","
	}
}

func (s *sentence) notEnforced(i int) {
	for at := i - 1; at > 0; at-- {
		if s.words[at].text != ")" {
			continue
		}
		open := s.opening(at)
		switch {
		case s.are(open-1, "CHECK"):
			s.words[open].after, s.words[at].before = "(", ") COLLATE "+markNotEnforced
		case s.are(open-2, "FOREIGN", "KEY"):
			s.words[at].before = ", " + markNotEnforced
		default:
			at = open
			continue
		}
		s.drop(i, 2)
		return
	}
}
