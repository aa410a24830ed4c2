package incremental

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"strconv"
)

// OIDs of built-in types whose binary form is made here (src/include/catalog/pg_type.dat).
const (
	oidBool    = 16
	oidBytea   = 17
	oidInt8    = 20
	oidInt2    = 21
	oidInt4    = 23
	oidText    = 25
	oidOID     = 26
	oidJSON    = 114
	oidFloat4  = 700
	oidFloat8  = 701
	oidBpchar  = 1042
	oidVarchar = 1043
	oidDate    = 1082
	oidTime    = 1114 // timestamp
	oidTimeTZ  = 1184 // timestamptz
	oidNumeric = 1700
	oidUUID    = 2950
	oidJSONB   = 3802

	oidInt8Array = 1016
	oidTextArray = 1009
)

// arrayParam is how one column's values travel as one array parameter.
type arrayParam struct {
	typeOID uint32 // of the parameter
	element uint32 // of its elements, for the binary format
	binary  binaryForm
	cast    bool // elements are text and have to be cast to the column's type
	comma   byte // delimiter of the text format
}

// arrayOf chooses the form: binary where that is made easily, else the array type's text format, else an array of text.
func arrayOf(c *targetColumn) arrayParam {
	if f, ok := binaryForms[c.typeOID]; ok && c.arrayOID != 0 {
		return arrayParam{typeOID: c.arrayOID, element: c.typeOID, binary: f}
	}
	if c.arrayOID != 0 && len(c.delimiter) == 1 {
		return arrayParam{typeOID: c.arrayOID, comma: c.delimiter[0]}
	}
	return arrayParam{typeOID: oidTextArray, element: oidText, binary: raw, cast: true}
}

// format is the format code of the parameter.
func (p arrayParam) format() int16 {
	if p.binary != nil {
		return 1
	}
	return 0
}

// encode writes a column of the rows, of their new values or of those that address them; false when a value has no such form.
func (p arrayParam) encode(nets []*netChange, column int, addressing bool) ([]byte, bool) {
	if p.binary == nil {
		return encodeText(len(nets), p.comma, func(i int) []byte { return nets[i].value(column, addressing) }), true
	}
	size := arrayHeader
	for _, n := range nets {
		size += 4 + max(8, len(n.value(column, addressing)))
	}
	out := appendArrayHeader(make([]byte, 0, size), p.element, len(nets))
	for _, n := range nets {
		v := n.value(column, addressing)
		if v == nil {
			out = append(out, 0xff, 0xff, 0xff, 0xff)
			continue
		}
		at := len(out)
		out = append(out, 0, 0, 0, 0)
		var ok bool
		if out, ok = p.binary(out, v); !ok {
			return nil, false
		}
		binary.BigEndian.PutUint32(out[at:], uint32(len(out)-at-4)) // a value is shorter
	}
	return out, true
}

func (n *netChange) value(column int, addressing bool) []byte {
	if addressing {
		return n.old[column]
	}
	return n.row[column]
}

const arrayHeader = 20

func appendArrayHeader(out []byte, element uint32, n int) []byte {
	out = binary.BigEndian.AppendUint32(out, 1) // dimensions
	out = binary.BigEndian.AppendUint32(out, 1) // NULLs are possible
	out = binary.BigEndian.AppendUint32(out, element)
	out = binary.BigEndian.AppendUint32(out, uint32(n)) // a batch is bounded by its bytes
	return binary.BigEndian.AppendUint32(out, 1)        // lower bound
}

// encodeCounts writes how many equal rows go.
func encodeCounts(nets []*netChange) []byte {
	out := appendArrayHeader(make([]byte, 0, arrayHeader+12*len(nets)), oidInt8, len(nets))
	for _, n := range nets {
		out = binary.BigEndian.AppendUint32(out, 8)
		out = binary.BigEndian.AppendUint64(out, uint64(-n.n))
	}
	return out
}

// encodeText writes an array in text format (PostgreSQL documentation, "Arrays", "Array Input and Output Syntax").
func encodeText(n int, comma byte, value func(i int) []byte) []byte {
	out := []byte{'{'}
	for i := range n {
		if i > 0 {
			out = append(out, comma)
		}
		v := value(i)
		if v == nil {
			out = append(out, "NULL"...)
			continue
		}
		out = append(out, '"')
		for _, c := range v {
			if c == '"' || c == '\\' {
				out = append(out, '\\')
			}
			out = append(out, c)
		}
		out = append(out, '"')
	}
	return append(out, '}')
}

// binaryForm appends what a type's receive function takes for a value's text; false when the text is not what the server writes.
type binaryForm func(out, v []byte) ([]byte, bool)

var binaryForms = map[uint32]binaryForm{
	oidText: raw, oidVarchar: raw, oidBpchar: raw, oidJSON: raw,
	oidJSONB:  func(out, v []byte) ([]byte, bool) { return append(append(out, 1), v...), true }, // version 1
	oidBool:   func(out, v []byte) ([]byte, bool) { return append(out, boolByte(string(v) == "t")-'0'), len(v) == 1 },
	oidInt2:   integer(16),
	oidInt4:   integer(32),
	oidInt8:   integer(64),
	oidOID:    unsigned,
	oidFloat4: float(32),
	oidFloat8: float(64),
	oidBytea:  hexBytes,
	oidUUID:   uuidBytes,
}

func raw(out, v []byte) ([]byte, bool) { return append(out, v...), true }

func integer(bits int) binaryForm {
	return func(out, v []byte) ([]byte, bool) {
		n, ok := parseInteger(v)
		switch {
		case !ok || n<<(64-bits)>>(64-bits) != n:
			return nil, false
		case bits == 16:
			return binary.BigEndian.AppendUint16(out, uint16(n)), true
		case bits == 32:
			return binary.BigEndian.AppendUint32(out, uint32(n)), true
		}
		return binary.BigEndian.AppendUint64(out, uint64(n)), true
	}
}

// parseInteger reads what the server writes: digits, perhaps after a minus.
func parseInteger(v []byte) (int64, bool) {
	digits := v
	if len(v) > 0 && v[0] == '-' {
		digits = v[1:]
	}
	if len(digits) == 0 || len(digits) > 18 { // what may be too large is left to those who look more closely
		n, err := strconv.ParseInt(string(v), 10, 64)
		return n, err == nil
	}
	var n int64
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	if len(digits) < len(v) {
		n = -n
	}
	return n, true
}

func unsigned(out, v []byte) ([]byte, bool) {
	n, err := strconv.ParseUint(string(v), 10, 32)
	return binary.BigEndian.AppendUint32(out, uint32(n)), err == nil
}

// float relies on the shortest or 17 (9) digits that the source writes: they name exactly one value. Not a number and the
// infinities have several names in Go's parser, of which the server writes one each.
func float(bits int) binaryForm {
	return func(out, v []byte) ([]byte, bool) {
		f, err := strconv.ParseFloat(string(v), bits)
		if err != nil {
			return nil, false
		}
		if math.IsNaN(f) {
			f = math.Float64frombits(0x7ff8000000000000)
		}
		if bits == 32 {
			return binary.BigEndian.AppendUint32(out, math.Float32bits(float32(f))), true
		}
		return binary.BigEndian.AppendUint64(out, math.Float64bits(f)), true
	}
}

func hexBytes(out, v []byte) ([]byte, bool) {
	if len(v) < 2 || v[0] != '\\' || v[1] != 'x' {
		return nil, false
	}
	out, err := hex.AppendDecode(out, v[2:])
	return out, err == nil
}

func uuidBytes(out, v []byte) ([]byte, bool) {
	if len(v) != 36 {
		return nil, false
	}
	plain := make([]byte, 0, 32)
	for i, c := range v {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			continue
		}
		plain = append(plain, c)
	}
	out, err := hex.AppendDecode(out, plain)
	return out, err == nil
}
