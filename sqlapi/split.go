package sqlapi

import (
	"unicode/utf8"
)

// Kind tells what becomes of a segment of a query string.
type Kind string

// The kinds of segments.
const (
	Plain   Kind = "plain"   // goes to the catalog as it is
	Control Kind = "control" // is ours: [Parse] it
	Refused Kind = "refused" // may not be forwarded; the segment carries the error
	Empty   Kind = "empty"   // the whole string holds no statement
)

// Segment is a run of plain SQL, as long as possible and unsplit, or one control statement, or one refused statement.
type Segment struct {
	Kind       Kind
	Text       string // plain: with comments and semicolons; control and refused: from the first token to the last
	Start      int    // byte offset of Text in the query string
	Chars      int    // characters before Text, to be added to the position of an error in it
	Head       string // leading words in capitals, of the first statement
	Statements int    // how many statements Text holds
	Tx         bool   // plain: a statement begins or ends a transaction block
	Err        *Error // refused: why, with a position in Text
}

// Split divides a query string at its semicolons, as PostgreSQL does: outside literals, comments and parentheses. It looks only
// at the head of a statement; what may be read with a plain statement is a matter of the catalog's privileges.
//
// PostgreSQL parses a whole string before it executes any of it. To keep that, refuse the string when Split fails, when a segment
// is Refused, or when a Control segment does not parse, before running its first segment.
//
// The text must be in UTF-8 or a single-byte encoding: in SJIS, BIG5, GBK and their like a byte of a character can pass for a
// backslash. The session must have standard_conforming_strings on; Split refuses to switch it off.
func Split(sql string) ([]Segment, error) {
	l := &lexer{src: sql}
	var segments []Segment
	begin, counted, chars := 0, 0, 0
	for {
		s, err := l.statement()
		if err != nil {
			return nil, err
		}
		if s.first == s.last { // nothing but comments and semicolons
			if s.eof {
				break
			}
			continue
		}
		c := classify(sql, s.skeleton)
		seg := Segment{Kind: c.kind, Head: c.head, Statements: 1, Tx: c.tx, Err: c.err, Start: s.first, Text: sql[s.first:s.last]}
		if n := len(segments); seg.Kind == Plain && n > 0 && segments[n-1].Kind == Plain {
			run := &segments[n-1]
			run.Text = sql[run.Start:l.pos]
			run.Statements++
			run.Tx = run.Tx || seg.Tx
		} else {
			if seg.Kind == Plain {
				seg.Start, seg.Text = begin, sql[begin:l.pos]
			}
			chars += utf8.RuneCountInString(sql[counted:seg.Start])
			counted, seg.Chars = seg.Start, chars
			if seg.Err != nil {
				seg.Err.Position = 1
			}
			segments = append(segments, seg)
		}
		begin = l.pos
		if s.eof {
			break
		}
	}
	if segments == nil {
		segments = []Segment{{Kind: Empty, Text: sql}}
	}
	return segments, nil
}

// skeletonSize bounds what classify sees of a statement; the longest head it has to look through is that of EXPLAIN or COPY.
const skeletonSize = 32

// span is one statement of a query string: the offsets of its first token and after its last one without the semicolon, and
// its skeleton: the first tokens outside parentheses, and of each pair of parentheses both of them and the first token inside.
type span struct {
	first, last int
	skeleton    []token
	eof         bool
}

// statement reads up to and including the next semicolon outside parentheses, or to the end.
func (l *lexer) statement() (span, *Error) {
	s := span{first: l.pos, last: l.pos}
	depth, opened := 0, false
	for {
		t, err := l.next()
		if err != nil {
			return s, err
		}
		op := l.punct(t)
		if t.kind == kindEOF || op == ';' && depth == 0 {
			s.eof = t.kind == kindEOF
			return s, nil
		}
		if s.first == s.last {
			s.first = t.start
		}
		s.last = t.end
		if op == ')' && depth > 0 {
			depth--
		}
		if (depth == 0 || opened) && len(s.skeleton) < skeletonSize {
			s.skeleton = append(s.skeleton, t)
		}
		opened = op == '(' && depth == 0
		if op == '(' {
			depth++
		}
	}
}

// punct returns the character of a kindOp token, 0 for any other.
func (l *lexer) punct(t token) byte {
	if t.kind != kindOp {
		return 0
	}
	return l.src[t.start]
}
