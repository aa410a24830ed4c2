package sqlapi

import (
	"slices"
	"strings"
	"unicode/utf8"

	"pgsyncd/catalog"
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

// class is what classify finds.
type class struct {
	kind Kind
	head string
	tx   bool
	err  *Error
}

// head is the skeleton of a statement under examination.
type head struct {
	lexer  *lexer
	tokens []token
}

// word returns token i in capitals when it is an unquoted word, else "".
func (h head) word(i int) string {
	if i < 0 || i >= len(h.tokens) || h.tokens[i].kind != kindWord {
		return ""
	}
	return upper(h.lexer.src[h.tokens[i].start:h.tokens[i].end])
}

// op returns token i when it is a punctuation character, else 0.
func (h head) op(i int) byte {
	if i < 0 || i >= len(h.tokens) {
		return 0
	}
	return h.lexer.punct(h.tokens[i])
}

// name returns token i as an identifier in lower case, as configuration parameters are looked up whether quoted or not.
func (h head) name(i int) string {
	if i >= len(h.tokens) {
		return ""
	}
	switch t := h.tokens[i]; t.kind {
	case kindWord, kindQuoted, kindUnicodeQuoted:
		if name, err := h.lexer.nameOf(t, '\\'); err == nil {
			return fold(name)
		}
	}
	return ""
}

// after returns the index of the token after the parenthesis group that opens at i.
func (h head) after(i int) int {
	for i < len(h.tokens) && h.op(i) != ')' {
		i++
	}
	return i + 1
}

// classify decides from the head of a statement what becomes of it.
func classify(sql string, skeleton []token) class {
	h := head{&lexer{src: sql}, skeleton}
	if h.op(0) == '(' {
		return class{kind: Plain, head: "("}
	}
	first := h.word(0)
	if h.isControl() {
		return class{kind: Control, head: h.leading()}
	}
	if err := h.refusal(); err != nil {
		return class{kind: Refused, head: h.leading(), err: err}
	}
	return class{kind: Plain, head: first, tx: transactionVerbs[first]}
}

var (
	transactionVerbs = wordSet("BEGIN START COMMIT END ROLLBACK ABORT SAVEPOINT RELEASE")
	queryVerbs       = wordSet("SELECT WITH VALUES TABLE")
	sessionVerbs     = wordSet("SHOW RESET DECLARE FETCH MOVE CLOSE EXECUTE DEALLOCATE LISTEN UNLISTEN DISCARD")
	// ownVerbs begin no statement of PostgreSQL, sharedVerbs begin some of its and some of ours.
	ownVerbs    = wordSet("PAUSE RESUME STOP CLONE TEST PRECHECK WAIT COMPARE CANCEL REPAIR SYNC")
	sharedVerbs = wordSet("CREATE ALTER DROP START RESET SHOW EXPLAIN")
	ownNouns    = wordSet("SYNC TASK TASKS COMPARE")
)

// isControl recognizes control statements and what was meant to be one (START TASK x), which the parser answers with the right
// form. A parameter's name such as sync.x is neither.
func (h head) isControl() bool {
	first, second := h.word(0), h.word(1)
	switch {
	case ownVerbs[first]:
		return true
	case !sharedVerbs[first]:
		return false
	case (first == "EXPLAIN" || first == "SHOW") && second == "CREATE":
		return ownNouns[h.word(2)] || first == "SHOW"
	}
	return ownNouns[second] && h.op(2) != '.'
}

// leading returns the tag of a control statement, the first two words of any other.
func (h head) leading() string {
	var words []string
	for i := 0; i < 4 && h.word(i) != ""; i++ {
		words = append(words, h.word(i))
	}
	if f := matchForm(words); f != nil {
		return f.Tag
	}
	return strings.Join(words[:min(2, len(words))], " ")
}

// refusal returns why a statement that is not ours may not be forwarded, or nil when it may.
func (h head) refusal() *Error {
	first := h.word(0)
	switch {
	case queryVerbs[first], sessionVerbs[first]:
		return nil
	case first == "COMMIT" || first == "ROLLBACK":
		if h.word(1) == "PREPARED" {
			return unsupported(first + " PREPARED").WithHint(noTwoPhase)
		}
		return nil
	case transactionVerbs[first]:
		return nil
	case first == "SET":
		return h.refuseSet()
	case first == "PREPARE":
		return h.refusePrepare()
	case first == "EXPLAIN":
		return h.refuseExplain()
	case first == "COPY":
		return h.refuseCopy()
	}
	return refuseVerb(first, h.word(1))
}

// refuseSet lets every SET pass except a change of role, which would leave the session's own privileges, and one that would make
// the catalog read literals differently from this lexer.
func (h head) refuseSet() *Error {
	i := 1
	if w := h.word(i); (w == "SESSION" || w == "LOCAL") && h.op(i+1) != '=' && h.word(i+1) != "TO" {
		i++
	}
	value := i + 1
	name := h.name(i)
	if name == "session" && h.word(i+1) == "AUTHORIZATION" || name == "authorization" && h.word(i-1) == "SESSION" {
		if name == "session" {
			value++
		}
		name = "session_authorization"
	}
	if h.op(value) == '=' || h.word(value) == "TO" {
		value++
	}
	to := h.word(value)
	if to == "" && value < len(h.tokens) && h.tokens[value].kind != kindOp {
		to = "some other value"
		if text, err := h.lexer.textOf(h.tokens[value], '\\'); err == nil && h.tokens[value].kind != kindNumber {
			to = upper(text)
		}
	}
	switch {
	case name == "role" && to != "NONE" && to != "DEFAULT":
		return unsupported("SET ROLE").WithHint("A session has the privileges of the user it logged in as. SET ROLE NONE is possible.")
	case name == "session_authorization" && (to != "DEFAULT" || h.tokens[value].kind != kindWord):
		return unsupported("SET SESSION AUTHORIZATION").
			WithHint("A session has the privileges of the user it logged in as. SET SESSION AUTHORIZATION DEFAULT is possible.")
	case name == "standard_conforming_strings" && !slices.Contains([]string{"ON", "TRUE", "YES", "1", "DEFAULT"}, to):
		return unsupported("standard_conforming_strings = off").WithHint("Write backslash escapes as E'…'.")
	}
	return nil
}

const noTwoPhase = "Transactions of this server only read; there is nothing to prepare."

// refusePrepare judges the statement to be prepared.
func (h head) refusePrepare() *Error {
	if h.word(1) == "TRANSACTION" {
		return unsupported("PREPARE TRANSACTION").WithHint(noTwoPhase)
	}
	i := 2
	if h.op(i) == '(' {
		i = h.after(i)
	}
	if h.word(i) == "AS" {
		i++
	}
	return h.refuseInner("PREPARE", i)
}

// refuseExplain judges the statement to be explained.
func (h head) refuseExplain() *Error {
	i := 1
	if h.op(i) == '(' {
		if h.op(i+1) == '(' || queryVerbs[h.word(i+1)] {
			return nil // EXPLAIN (SELECT …)
		}
		i = h.after(i)
	}
	for slices.Contains([]string{"ANALYZE", "ANALYSE", "VERBOSE"}, h.word(i)) {
		i++
	}
	return h.refuseInner("EXPLAIN", i)
}

// refuseInner refuses PREPARE and EXPLAIN of anything but a query, EXECUTE or DECLARE.
func (h head) refuseInner(outer string, i int) *Error {
	switch w := h.word(i); {
	case h.op(i) == '(' || queryVerbs[w] || w == "EXECUTE" || w == "DECLARE":
		return nil
	case w == "":
		return nil // a syntax error, better told by PostgreSQL
	default:
		return unsupported(outer+" of "+w).WithHint("%s takes queries only.", outer)
	}
}

// refuseCopy lets only COPY … TO STDOUT pass.
func (h head) refuseCopy() *Error {
	i := 1
	if h.op(i) == '(' {
		i = h.after(i)
	} else {
		if h.word(i) == "BINARY" && h.word(i+1) != "TO" && h.op(i+1) != '.' {
			i++
		}
		for i++; h.op(i) == '.'; i += 2 {
		}
		if h.op(i) == '(' {
			i = h.after(i)
		}
	}
	if h.word(i) == "TO" && h.word(i+1) == "STDOUT" {
		return nil
	}
	return unsupported("COPY other than TO STDOUT").WithHint("Write COPY (SELECT …) TO STDOUT, or use psql's \\copy … TO.")
}

// unsupported is 0A000 for a statement that may not be forwarded.
func unsupported(what string) *Error {
	return Errorf(CodeUnsupported, "%s is not supported by this server", what)
}

// refuseVerb is 0A000 for a statement whose first word is not allowed, with what to write instead.
func refuseVerb(first, second string) *Error {
	e := unsupported(first)
	switch first {
	case "":
		return Errorf(CodeSyntax, "syntax error at the start of the statement").WithHint("SHOW SYNC HELP lists the control statements.")
	case "CREATE", "ALTER", "DROP":
		if second == "USER" || second == "ROLE" || second == "GROUP" {
			return unsupported(first+" "+second).WithHint("Users of this server are kept with %s SYNC USER.", first)
		}
		if second != "" {
			e = unsupported(first + " " + second)
		}
		return e.WithHint("This server keeps synchronization tasks, comparisons and users. SHOW SYNC HELP lists the control statements.")
	case "INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE":
		return e.WithHint("The relations of this server are read-only; tasks are changed with control statements (SHOW SYNC HELP).")
	case "NOTIFY":
		return e.WithHint("LISTEN sync_events receives the daemon's own notifications.")
	}
	if near := catalog.Nearest(first, allowedVerbs()); near != "" && len(first) > 3 {
		return e.WithHint("Perhaps you meant %s. SHOW SYNC HELP lists the control statements.", near)
	}
	return e.WithHint("Queries, session commands and control statements are accepted. SHOW SYNC HELP lists the control statements.")
}

// allowedVerbs returns every first word that is accepted, in order.
func allowedVerbs() []string {
	var verbs []string
	for _, set := range []map[string]bool{queryVerbs, sessionVerbs, transactionVerbs, ownVerbs, sharedVerbs} {
		for v := range set {
			if v != "SYNC" {
				verbs = append(verbs, v)
			}
		}
	}
	slices.Sort(verbs)
	return slices.Compact(append(verbs, "COPY", "PREPARE", "SET"))
}
