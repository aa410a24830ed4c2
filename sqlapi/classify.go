package sqlapi

import (
	"slices"
	"strings"

	"pgsyncd/catalog"
)

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
	default:
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
			return notForwarded(first + " PREPARED").WithHint(noTwoPhase)
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
		return notForwarded("SET ROLE").WithHint("A session has the privileges of the user it logged in as. SET ROLE NONE is possible.")
	case name == "session_authorization" && (to != "DEFAULT" || h.tokens[value].kind != kindWord):
		return notForwarded("SET SESSION AUTHORIZATION").
			WithHint("A session has the privileges of the user it logged in as. SET SESSION AUTHORIZATION DEFAULT is possible.")
	case name == "standard_conforming_strings" && !slices.Contains([]string{"ON", "TRUE", "YES", "1", "DEFAULT"}, to):
		return notForwarded("standard_conforming_strings = off").WithHint("Write backslash escapes as E'…'.")
	}
	return nil
}

const noTwoPhase = "Transactions of this server only read; there is nothing to prepare."

// refusePrepare judges the statement to be prepared.
func (h head) refusePrepare() *Error {
	if h.word(1) == "TRANSACTION" {
		return notForwarded("PREPARE TRANSACTION").WithHint(noTwoPhase)
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
		return notForwarded(outer+" of "+w).WithHint("%s takes queries only.", outer)
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
	return notForwarded("COPY other than TO STDOUT").WithHint("Write COPY (SELECT …) TO STDOUT, or use psql's \\copy … TO.")
}

// notForwarded is 0A000 for a statement that may not be forwarded.
func notForwarded(what string) *Error {
	return Errorf(CodeUnsupported, "%s is not supported by this server", what)
}

// refuseVerb is 0A000 for a statement whose first word is not allowed, with what to write instead.
func refuseVerb(first, second string) *Error {
	e := notForwarded(first)
	switch first {
	case "":
		return Errorf(CodeSyntax, "syntax error at the start of the statement").WithHint("SHOW SYNC HELP lists the control statements.")
	case "CREATE", "ALTER", "DROP":
		if second == "USER" || second == "ROLE" || second == "GROUP" {
			return notForwarded(first+" "+second).WithHint("Users of this server are kept with %s SYNC USER.", first)
		}
		if second != "" {
			e = notForwarded(first + " " + second)
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
