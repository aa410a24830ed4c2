package sqlapi

import (
	"strings"
	"unicode/utf8"
)

// Parse reads one control statement, with or without semicolons after it. Errors are of type [*Error]: 42601 with the position and
// the statement's synopsis as HINT, 22023 for names, options and values that are not acceptable.
func Parse(text string) (Statement, error) {
	p := &parser{lexer: lexer{src: text}}
	if !utf8.ValidString(text) {
		return nil, Errorf(CodeInvalidEncoding, "invalid byte sequence for encoding \"UTF8\"").
			WithHint("Control statements are read in UTF-8: SET client_encoding TO 'UTF8'.")
	}
	if err := p.scan(); err != nil {
		return nil, err
	}
	s := p.statement()
	for p.op(';') {
	}
	if p.err == nil && p.peek().kind != kindEOF {
		p.unexpected("the end of the statement")
	}
	if p.err != nil {
		return nil, p.err
	}
	return s, nil
}

// parser holds the tokens of one statement. After the first error it stands at the end and takes nothing more, so that the
// grammar's functions need not look at err.
type parser struct {
	lexer
	tokens []token
	i      int
	clause string // synopsis of what is being read, for hints
	err    *Error

	secretive bool // what is being read is a secret
}

func (p *parser) scan() *Error {
	for {
		t, err := p.next()
		if err != nil {
			return err
		}
		p.tokens = append(p.tokens, t)
		if t.kind == kindEOF {
			return nil
		}
	}
}

// statement finds the form by its leading words and reads the rest.
func (p *parser) statement() Statement {
	var words []string
	for i := range 4 {
		w := p.wordAt(i)
		if w == "" {
			break
		}
		words = append(words, w)
	}
	form := matchForm(words)
	if form == nil {
		p.mistaken(words)
		return nil
	}
	p.i = len(strings.Fields(form.Tag))
	p.clause = form.short()
	switch form {
	case formCreateTask:
		return p.createTask()
	case formAlterTask:
		return p.alterTask()
	case formExplainCreate:
		return &ExplainCreate{*p.createTask()}
	case formCompare:
		return p.compare()
	case formWait:
		return p.waitTask()
	case formCreateUser, formAlterUser, formDropUser:
		return p.user(form)
	case formCancelCompare, formRepair, formShowReport, formAlterSchedule, formDropSchedule:
		return p.aboutCompare(form)
	case formStart, formPause, formResume, formReset, formStop, formDrop:
		return p.command(form)
	default:
		return p.aboutTask(form)
	}
}

// mistaken reports leading words that begin no form: which word is wrong, and the forms that may have been meant.
func (p *parser) mistaken(words []string) {
	likely := likelyForms(words)
	common := 0
	for _, f := range likely {
		n, tag := 0, strings.Fields(f.Tag)
		for n < len(tag) && n < len(words) && tag[n] == words[n] {
			n++
		}
		common = max(common, n)
	}
	p.i = min(common, len(p.tokens)-1)
	p.unexpected("")
	switch n := len(likely); {
	case n == 0 || n > 8:
		p.err.Hint = "SHOW SYNC HELP lists the control statements."
	case n == 1:
		p.err.Hint = "Syntax: " + likely[0].short()
	default:
		tags := make([]string, len(likely))
		for i, f := range likely {
			tags[i] = f.Tag
		}
		p.err.Hint = "Statements: " + strings.Join(tags, ", ") + "."
	}
}

// Looking ahead.

func (p *parser) peek() token { return p.tokens[p.i] }

// wordAt returns the word i tokens ahead in capitals, or "" when there is no unquoted word.
func (p *parser) wordAt(i int) string {
	if p.i+i >= len(p.tokens) || p.tokens[p.i+i].kind != kindWord {
		return ""
	}
	t := p.tokens[p.i+i]
	return upper(p.src[t.start:t.end])
}

// accept takes the next words if they are these.
func (p *parser) accept(words ...string) bool {
	if p.err != nil {
		return false
	}
	for i, w := range words {
		if p.wordAt(i) != w {
			return false
		}
	}
	p.i += len(words)
	return true
}

func (p *parser) expect(words ...string) {
	for _, w := range words {
		if !p.accept(w) {
			p.unexpected(w)
			return
		}
	}
}

// op takes the punctuation character c if it is next.
func (p *parser) op(c byte) bool {
	if p.err != nil || p.punct(p.peek()) != c {
		return false
	}
	p.i++
	return true
}

func (p *parser) expectOp(c byte) {
	if !p.op(c) {
		p.unexpected(`"` + string(c) + `"`)
	}
}

// list reads what item reads, one or more times with commas between, in parentheses.
func (p *parser) list(item func()) {
	p.expectOp('(')
	p.commas(item)
	p.expectOp(')')
}

// commas reads what item reads, one or more times with commas between.
func (p *parser) commas(item func()) {
	item()
	for p.op(',') {
		item()
	}
}

// Errors.

// unexpected is a syntax error at the next token. expected completes "Expected …." in DETAIL.
func (p *parser) unexpected(expected string) {
	if p.err != nil {
		return
	}
	t := p.peek()
	e := Errorf(CodeSyntax, "syntax error at end of input")
	// What stands in quotes of any kind may be a secret, and so may a word after a stray quote or in the place of a secret.
	switch {
	case t.kind == kindEOF:
	case t.isQuoted(), p.secretive, p.i > 0 && p.tokens[p.i-1].isQuoted() && p.tokens[p.i-1].end == t.start:
		e.Message = `syntax error at or near "'...'"`
	default:
		e.Message = `syntax error at or near "` + p.src[t.start:t.end] + `"`
	}
	if expected != "" {
		e.Detail = "Expected " + expected + "."
	}
	if p.clause != "" {
		e.Hint = "Syntax: " + p.clause
	}
	p.fail(t, e)
}

// fail records e, if it is one and the first, with the position of t.
func (p *parser) fail(t token, e *Error) {
	if e == nil || p.err != nil {
		return
	}
	if e.Position == 0 {
		e.at(p.src, t.start)
	}
	p.err = e
	p.i = len(p.tokens) - 1
}

// Terminals.

// identifier reads a name; what says of what, for DETAIL. Keywords PostgreSQL reserves must be quoted.
func (p *parser) identifier(what string) string {
	t := p.peek()
	if t.kind == kindWord && reserved[fold(p.src[t.start:t.end])] {
		p.unexpected(what + "; a keyword is written in double quotes as a name")
		return ""
	}
	return p.label(what)
}

// label reads an identifier that may be any keyword.
func (p *parser) label(what string) string {
	t := p.peek()
	name := p.key(what)
	if len(name) > maxIdentifier {
		p.fail(t, Errorf(CodeNameTooLong, "identifier is too long").WithDetail("It has %d bytes; %d are possible.", len(name), maxIdentifier))
	}
	return name
}

// key is label without a limit of length.
func (p *parser) key(what string) string {
	t := p.peek()
	switch t.kind {
	case kindWord, kindQuoted, kindUnicodeQuoted:
	default:
		p.unexpected(what)
		return ""
	}
	p.i++
	name, err := p.nameOf(t, p.uescape(t))
	p.fail(t, err)
	return name
}

// literal reads a string.
func (p *parser) literal(what string) string {
	t := p.peek()
	if !t.isText() || t.kind == kindBits {
		p.unexpected(what + " in single quotes")
		return ""
	}
	p.i++
	text, err := p.textOf(t, p.uescape(t))
	p.fail(t, err)
	return text
}

// uescape reads the UESCAPE clause that may follow t and returns the escape character.
func (p *parser) uescape(t token) byte {
	if t.kind != kindUnicode && t.kind != kindUnicodeQuoted || !p.accept("UESCAPE") {
		return '\\'
	}
	clause := p.peek()
	escape := p.literal("an escape character")
	if len(escape) != 1 || isHex(escape[0]) || isSpace(escape[0]) || strings.Contains(`+'"`, escape) {
		p.fail(clause, Errorf(CodeSyntax, "invalid Unicode escape character"))
		return '\\'
	}
	return escape[0]
}

// checked reads a literal that check must accept.
func (p *parser) checked(what string, check func(string) *Error) string {
	t := p.peek()
	text := p.literal(what)
	if p.err == nil {
		p.fail(t, check(text))
	}
	return text
}
