package sqlapi

import "strings"

// kind is the class of a token, as src/backend/parser/scan.l distinguishes them.
type kind uint8

const (
	kindEOF           kind = iota
	kindWord               // unquoted identifier or keyword
	kindQuoted             // "identifier"
	kindUnicodeQuoted      // U&"identifier"
	kindString             // 'text'
	kindEscape             // E'text'
	kindUnicode            // U&'text'
	kindBits               // B'01', X'1F'
	kindDollar             // $tag$text$tag$
	kindNumber
	kindParam // $1
	kindOp    // one character of an operator or of punctuation
)

// token is a half-open range of bytes of the source. Its value is decoded only where it is wanted, so that splitting a long query
// string allocates nothing per token.
type token struct {
	kind       kind
	start, end int
}

// isText tells whether t is a literal in quotes of some kind.
func (t token) isText() bool {
	switch t.kind {
	case kindString, kindEscape, kindUnicode, kindBits, kindDollar:
		return true
	default:
		return false
	}
}

// isQuoted tells whether a token is in quotes: a literal or an identifier.
func (t token) isQuoted() bool {
	return t.isText() || t.kind == kindQuoted || t.kind == kindUnicodeQuoted
}

// lexer reads tokens by PostgreSQL's rules with standard_conforming_strings on. It works on bytes: every multibyte character of a
// server encoding consists of bytes above 0x7F, all of which belong to identifiers.
type lexer struct {
	src string
	pos int
}

func isSpace(c byte) bool {
	return c == ' ' || c >= '\t' && c <= '\r' // \t \n \v \f \r
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isIdentStart(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80
}

func isIdentPart(c byte) bool { return isIdentStart(c) || isDigit(c) || c == '$' }

// fold lower-cases ASCII letters only, as PostgreSQL does in a multibyte encoding.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + ('a' - 'A')
		}
		return r
	}, s)
}

// upper is the inverse of fold; keywords are compared in capitals. Unicode's own mapping would take ſ for S.
func upper(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return r - ('a' - 'A')
		}
		return r
	}, s)
}

// at returns the byte at offset i, or 0 past the end.
func (l *lexer) at(i int) byte {
	if i < len(l.src) {
		return l.src[i]
	}
	return 0
}

// next returns the next token, or kindEOF at the end. Errors are 42601 in PostgreSQL's words.
func (l *lexer) next() (token, *Error) {
	if err := l.skipSpace(); err != nil {
		return token{}, err
	}
	start := l.pos
	if start == len(l.src) {
		return token{kindEOF, start, start}, nil
	}
	c, following := l.src[start], l.at(start+1)
	switch {
	case c == '\'':
		return l.quoted(kindString, start, 1)
	case (c == 'e' || c == 'E') && following == '\'':
		return l.quoted(kindEscape, start, 2)
	case (c == 'b' || c == 'B' || c == 'x' || c == 'X') && following == '\'':
		return l.quoted(kindBits, start, 2)
	case (c == 'u' || c == 'U') && following == '&' && l.at(start+2) == '\'':
		return l.quoted(kindUnicode, start, 3)
	case c == '"':
		return l.quoted(kindQuoted, start, 1)
	case (c == 'u' || c == 'U') && following == '&' && l.at(start+2) == '"':
		return l.quoted(kindUnicodeQuoted, start, 3)
	case isIdentStart(c):
		for l.pos++; l.pos < len(l.src) && isIdentPart(l.src[l.pos]); l.pos++ {
		}
		return token{kindWord, start, l.pos}, nil
	case isDigit(c) || c == '.' && isDigit(following):
		return l.number(start)
	case c == '$':
		return l.dollar(start)
	}
	l.pos++
	return token{kindOp, start, l.pos}, nil
}

// skipSpace passes white space, -- comments and nested /* comments */.
func (l *lexer) skipSpace() *Error {
	for l.pos < len(l.src) {
		c, following := l.src[l.pos], l.at(l.pos+1)
		switch {
		case isSpace(c):
			l.pos++
		case c == '-' && following == '-':
			l.pos = lineEnd(l.src, l.pos)
		case c == '/' && following == '*':
			end := commentEnd(l.src, l.pos)
			if end < 0 {
				return l.fault(l.pos, "unterminated /* comment", "/*")
			}
			l.pos = end
		default:
			return nil
		}
	}
	return nil
}

// lineEnd returns the offset of the first line break at or after i, or the length of src.
func lineEnd(src string, i int) int {
	if n := strings.IndexAny(src[i:], "\n\r"); n >= 0 {
		return i + n
	}
	return len(src)
}

// commentEnd returns the offset after the comment that starts at i, or -1 when it does not end. Comments nest.
func commentEnd(src string, i int) int {
	depth := 0
	for i+1 < len(src) {
		switch src[i : i+2] {
		case "/*":
			depth++
			i += 2
		case "*/":
			depth--
			i += 2
			if depth == 0 {
				return i
			}
		default:
			i++
		}
	}
	return -1
}

// number reads digits with whatever letters adhere to them. Where exactly the number ends (1from, 0x1F, 1_000) differs between
// PostgreSQL versions, and matters only if a dollar sign or a quote follows the letters: it could open one kind of quotation in one
// version and another or none in the next (1e'\'). Such a text is refused.
func (l *lexer) number(start int) (token, *Error) {
	for l.pos < len(l.src) && (isDigit(l.src[l.pos]) || isIdentStart(l.src[l.pos]) || l.src[l.pos] == '.') {
		l.pos++
	}
	next := l.at(l.pos)
	if next == '$' || (next == '\'' || next == '"') && isIdentStart(l.src[l.pos-1]) {
		return token{}, l.fault(start, "trailing junk after numeric literal", l.src[start:l.pos+1])
	}
	return token{kindNumber, start, l.pos}, nil
}

// dollar reads $1, $tag$…$tag$, or a lone dollar sign.
func (l *lexer) dollar(start int) (token, *Error) {
	i := start + 1
	if isDigit(l.at(i)) {
		for isDigit(l.at(i)) {
			i++
		}
		if isIdentStart(l.at(i)) {
			return token{}, l.fault(start, "trailing junk after parameter", l.src[start:i+1])
		}
		l.pos = i
		return token{kindParam, start, i}, nil
	}
	if isIdentStart(l.at(i)) {
		for i++; isIdentStart(l.at(i)) || isDigit(l.at(i)); i++ {
		}
	}
	if l.at(i) != '$' {
		l.pos++
		return token{kindOp, start, l.pos}, nil
	}
	tag := l.src[start : i+1]
	n := strings.Index(l.src[i+1:], tag)
	if n < 0 {
		return token{}, l.fault(start, "unterminated dollar-quoted string", tag)
	}
	l.pos = i + 1 + n + len(tag)
	return token{kindDollar, start, l.pos}, nil
}

// quoted reads a literal or identifier whose opening quote is the last of the prefix bytes at start.
func (l *lexer) quoted(k kind, start, prefix int) (token, *Error) {
	quote := l.src[start+prefix-1]
	end := quotedEnd(l.src, start+prefix, quote, k)
	opening := l.src[start : start+prefix]
	switch {
	case end < 0 && quote == '"':
		return token{}, l.fault(start, "unterminated quoted identifier", opening)
	case end < 0 && k == kindBits && (opening[0] == 'b' || opening[0] == 'B'):
		return token{}, l.fault(start, "unterminated bit string literal", opening)
	case end < 0 && k == kindBits:
		return token{}, l.fault(start, "unterminated hexadecimal string literal", opening)
	case end < 0:
		return token{}, l.fault(start, "unterminated quoted string", opening)
	case quote == '"' && end == start+prefix+1:
		return token{}, l.fault(start, "zero-length delimited identifier", l.src[start:end])
	}
	l.pos = end
	return token{k, start, end}, nil
}

// quotedEnd returns the offset after the closing quote of what begins, after its opening quote, at i; -1 when it does not end. A
// string goes on after white space with a line break ('a'⏎'b' is 'ab'), under the rules of its first part.
func quotedEnd(src string, i int, quote byte, k kind) int {
	for i < len(src) {
		switch c := src[i]; {
		case c == '\\' && k == kindEscape:
			i += 2
		case c != quote:
			i++
		case i+1 < len(src) && src[i+1] == quote && k != kindBits:
			i += 2
		default:
			if quote == '\'' {
				if next := continuation(src, i+1); next > 0 {
					i = next
					continue
				}
			}
			return i + 1
		}
	}
	return -1
}

// continuation returns the offset after the opening quote of a string's next part, or 0 when no part follows at i.
func continuation(src string, i int) int {
	broken := false
	for i < len(src) {
		switch c := src[i]; {
		case isSpace(c):
			broken = broken || c == '\n' || c == '\r'
			i++
		case c == '-' && i+1 < len(src) && src[i+1] == '-':
			i = lineEnd(src, i)
		case c == '\'' && broken:
			return i + 1
		default:
			return 0
		}
	}
	return 0
}

// fault is a lexical error at a byte offset. near is never the inside of a literal: it could be a password.
func (l *lexer) fault(off int, message, near string) *Error {
	return Errorf(CodeSyntax, "%s at or near \"%s\"", message, near).at(l.src, off)
}
