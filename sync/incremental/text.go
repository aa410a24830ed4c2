package incremental

import (
	"bytes"
	"errors"
	"strings"

	"pgsyncd/sync/schema"
)

// errShape says that a line of test_decoding has other columns than expected.
var errShape = errors.New("columns differ from the table's")

// text consumes a line of test_decoding (contrib/test_decoding/test_decoding.c). What it returns points into the line.
type text struct{ rest []byte }

// skip consumes a word if it comes next.
func (t *text) skip(word string) bool {
	if len(t.rest) < len(word) || string(t.rest[:len(word)]) != word {
		return false
	}
	t.rest = t.rest[len(word):]
	return true
}

// identifier consumes a name as quote_identifier writes it.
func (t *text) identifier() (string, bool) {
	if t.skip(`"`) {
		var name strings.Builder
		for {
			end := bytes.IndexByte(t.rest, '"')
			if end < 0 {
				return "", false
			}
			name.Write(t.rest[:end])
			t.rest = t.rest[end+1:]
			if !t.skip(`"`) {
				return name.String(), name.Len() > 0
			}
			name.WriteByte('"')
		}
	}
	n := 0
	for n < len(t.rest) && (t.rest[n] == '_' || 'a' <= t.rest[n] && t.rest[n] <= 'z' || n > 0 && '0' <= t.rest[n] && t.rest[n] <= '9') {
		n++
	}
	name := string(t.rest[:n])
	t.rest = t.rest[n:]
	return name, n > 0
}

// name consumes a qualified name.
func (t *text) name() (n schema.Name, ok bool) {
	if n.Schema, ok = t.identifier(); !ok || !t.skip(".") {
		return n, false
	}
	n.Name, ok = t.identifier()
	return n, ok
}

// relation consumes a qualified name and returns it as it is written.
func (t *text) relation() ([]byte, bool) {
	line := t.rest
	for part := range 2 {
		if part == 1 && !t.skip(".") || !t.pass() {
			return nil, false
		}
	}
	return line[:len(line)-len(t.rest)], true
}

// pass consumes a name without reading it.
func (t *text) pass() bool {
	if !t.skip(`"`) {
		n := bytes.IndexAny(t.rest, `.:, ["`)
		if n <= 0 {
			return false
		}
		t.rest = t.rest[n:]
		return true
	}
	for {
		end := bytes.IndexByte(t.rest, '"')
		if end < 0 {
			return false
		}
		t.rest = t.rest[end+1:]
		if !t.skip(`"`) {
			return true
		}
	}
}

// label is what stands before a column's value: its name and its type, without modifier.
type label struct {
	raw      []byte // with the blank before and the colon after
	name     string
	typeName string
}

func (t *text) label() (l label, ok bool) {
	line := t.rest
	if !t.skip(" ") {
		return l, false
	}
	if l.name, ok = t.identifier(); !ok || !t.skip("[") {
		return l, false
	}
	quoted := false
	for i := 0; i+1 < len(t.rest); i++ {
		switch {
		case t.rest[i] == '"':
			quoted = !quoted
		case !quoted && t.rest[i] == ']' && t.rest[i+1] == ':':
			l.typeName = string(t.rest[:i])
			t.rest = t.rest[i+2:]
			l.raw = line[:len(line)-len(t.rest)]
			return l, i > 0
		}
	}
	return l, false
}

var (
	textTrue  = []byte("t")
	textFalse = []byte("f")
)

// value consumes one value and returns it as the type's output function made it.
func (t *text) value() ([]byte, bool) {
	if t.skip("'") {
		return t.quoted()
	}
	if t.skip("B'") {
		end := bytes.IndexByte(t.rest, '\'')
		if end < 0 {
			return nil, false
		}
		v := t.rest[:end:end]
		t.rest = t.rest[end+1:]
		return v, true
	}
	end := bytes.IndexByte(t.rest, ' ')
	if end < 0 {
		end = len(t.rest)
	}
	v := t.rest[:end:end]
	t.rest = t.rest[end:]
	switch string(v) {
	case "":
		return nil, false
	case "null":
		return nil, true
	case "unchanged-toast-datum":
		return unchanged, true
	case "true":
		return textTrue, true
	case "false":
		return textFalse, true
	}
	return v, true
}

// quoted consumes the rest of a string in which only quotes are doubled, whatever standard_conforming_strings says.
func (t *text) quoted() ([]byte, bool) {
	var whole []byte
	for {
		end := bytes.IndexByte(t.rest, '\'')
		if end < 0 {
			return nil, false
		}
		part := t.rest[:end:end]
		t.rest = t.rest[end+1:]
		if t.skip("'") {
			whole = append(append(whole, part...), '\'')
			continue
		}
		if whole == nil {
			return part, true
		}
		return append(whole, part...), true
	}
}

// labels reads a tuple for its labels only.
func (t *text) labels() (list []label, ok bool) {
	for len(t.rest) > 0 {
		l, ok := t.label()
		if !ok {
			return nil, false
		}
		if _, ok := t.value(); !ok {
			return nil, false
		}
		list = append(list, l)
	}
	return list, true
}
