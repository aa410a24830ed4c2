package sqlapi

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// nameOf returns the name a token of an identifier kind denotes: folded when unquoted, decoded when quoted.
func (l *lexer) nameOf(t token, escape byte) (string, *Error) {
	text := l.src[t.start:t.end]
	switch t.kind {
	case kindQuoted:
		return strings.ReplaceAll(text[1:len(text)-1], `""`, `"`), nil
	case kindUnicodeQuoted:
		return l.unicode(strings.ReplaceAll(text[3:len(text)-1], `""`, `"`), escape, t)
	default:
		return fold(text), nil
	}
}

// textOf returns the value of a token of a string kind. escape is the character UESCAPE names, a backslash by default.
func (l *lexer) textOf(t token, escape byte) (string, *Error) {
	src := l.src[t.start:t.end]
	switch t.kind {
	case kindDollar:
		tag := strings.IndexByte(src[1:], '$') + 2
		return src[tag : len(src)-tag], nil
	case kindEscape:
		return l.backslashed(parts(src[1:], true), t)
	case kindUnicode:
		return l.unicode(strings.ReplaceAll(parts(src[2:], false), "''", "'"), escape, t)
	default:
		return strings.ReplaceAll(parts(src, false), "''", "'"), nil
	}
}

// parts joins the contents of a string literal and of its continuations, still escaped.
func parts(src string, backslash bool) string {
	var b strings.Builder
	from := 1
	for i := 1; i < len(src); {
		switch {
		case src[i] == '\\' && backslash, src[i] == '\'' && i+1 < len(src) && src[i+1] == '\'':
			i += 2
		case src[i] == '\'':
			b.WriteString(src[from:i])
			next := continuation(src, i+1)
			if next == 0 {
				return b.String()
			}
			from, i = next, next
		default:
			i++
		}
	}
	return b.String()
}

// backslashed decodes the inside of E'…' (section 4.1.2.2 of PostgreSQL's manual).
func (l *lexer) backslashed(s string, t token) (string, *Error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\'' {
			i++ // the lexer has seen that quotes come in pairs
		}
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch c := s[i]; c {
		case 'b':
			b.WriteByte('\b')
		case 'f':
			b.WriteByte('\f')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case 'v':
			b.WriteByte('\v')
		case 'u', 'U':
			r, n := escapedRune(s[i-1:], '\\', 'u', 'U')
			if n == 0 {
				return "", l.badEscape(t)
			}
			b.WriteRune(r)
			i += n - 2
		default:
			n := 0
			if c == 'x' {
				n = run(s[i+1:], 2, isHex)
			}
			if n > 0 {
				v, _ := strconv.ParseUint(s[i+1:i+1+n], 16, 8)
				b.WriteByte(byte(v))
				i += n
				continue
			}
			if n = run(s[i:], 3, isOctal); n > 0 {
				v, _ := strconv.ParseUint(s[i:i+n], 8, 16)
				b.WriteByte(byte(v)) // \777 wraps, as in PostgreSQL
				i += n - 1
				continue
			}
			b.WriteByte(c)
		}
	}
	return l.checked(b.String(), t)
}

// unicode decodes the inside of U&'…' and U&"…": \XXXX, \+XXXXXX, and the escape character doubled.
func (l *lexer) unicode(s string, escape byte, t token) (string, *Error) {
	var b strings.Builder
	for i := 0; i < len(s); {
		switch {
		case s[i] != escape:
			b.WriteByte(s[i])
			i++
		case i+1 < len(s) && s[i+1] == escape:
			b.WriteByte(escape)
			i += 2
		default:
			r, n := escapedRune(s[i:], escape, 0, '+')
			if n == 0 {
				return "", l.badEscape(t)
			}
			b.WriteRune(r)
			i += n
		}
	}
	return l.checked(b.String(), t)
}

// escapedRune decodes the escape at the start of s: the escape character, then 4 hexadecimal digits after short (0: after nothing) or
// long digits after long (8 for U, 6 for +). A surrogate pair takes two such escapes. It returns the bytes used, 0 if malformed.
func escapedRune(s string, escape, short, long byte) (rune, int) {
	one := func(s string) (rune, int) {
		if s == "" || s[0] != escape {
			return 0, 0
		}
		at, digits := 1, 4
		switch {
		case len(s) > 1 && s[1] == long && long == 'U':
			at, digits = 2, 8
		case len(s) > 1 && s[1] == long:
			at, digits = 2, 6
		case short != 0 && (len(s) < 2 || s[1] != short):
			return 0, 0
		case short != 0:
			at = 2
		}
		if run(s[at:], digits, isHex) < digits {
			return 0, 0
		}
		v, err := strconv.ParseUint(s[at:at+digits], 16, 32)
		if err != nil || v > utf8.MaxRune || v == 0 {
			return 0, 0
		}
		return rune(v), at + digits
	}
	first, n := one(s)
	if n == 0 || !utf16.IsSurrogate(first) {
		return first, n
	}
	second, m := one(s[n:])
	if r := utf16.DecodeRune(first, second); m > 0 && r != utf8.RuneError {
		return r, n + m
	}
	return 0, 0
}

// run returns how many of the first limit bytes of s satisfy ok without a gap.
func run(s string, limit int, ok func(byte) bool) int {
	n := 0
	for n < limit && n < len(s) && ok(s[n]) {
		n++
	}
	return n
}

func isHex(c byte) bool {
	return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func isOctal(c byte) bool { return c >= '0' && c <= '7' }

func (l *lexer) badEscape(t token) *Error {
	return Errorf(CodeInvalidEscape, "invalid Unicode escape").at(l.src, t.start).
		WithHint("Unicode escapes must be \\XXXX or \\+XXXXXX, in E'' strings \\uXXXX or \\UXXXXXXXX.")
}

// checked refuses what no text value can hold: a zero byte or invalid UTF-8 made by escapes.
func (l *lexer) checked(s string, t token) (string, *Error) {
	if strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s) {
		return "", Errorf(CodeInvalidEncoding, "invalid byte sequence for encoding \"UTF8\"").at(l.src, t.start)
	}
	return s, nil
}
