package incremental

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// message builds one of pgoutput's messages.
type message []byte

func msg(kind byte) message { return message{kind} }

func (m message) u8(v byte) message    { return append(m, v) }
func (m message) u16(v uint16) message { return binary.BigEndian.AppendUint16(m, v) }
func (m message) u32(v uint32) message { return binary.BigEndian.AppendUint32(m, v) }
func (m message) u64(v uint64) message { return binary.BigEndian.AppendUint64(m, v) }
func (m message) text(s string) message {
	return append(append(m, s...), 0)
}

func (m message) value(s string) message {
	return append(m.u8('t').u32(uint32(len(s))), s...)
}

func begin(lsn uint64) message { return msg('B').u64(lsn).u64(0).u32(7) }

func commit(lsn, end uint64) message { return msg('C').u8(0).u64(lsn).u64(end).u64(0) }

func describeT() message {
	return msg('R').u32(1).text("public").text("t").u8('d').u16(2).
		u8(1).text("id").u32(23).u32(0xffffffff).u8(0).text("v").u32(25).u32(0xffffffff)
}

func decodeAll(t *testing.T, messages ...message) []event {
	t.Helper()
	d := newPgoutput("pub", nil, newCounters())
	var events []event
	for _, m := range messages {
		if err := d.decode(t.Context(), 0, m, func(e event) error { events = append(events, e); return nil }); err != nil {
			t.Fatalf("%q: %v", m, err)
		}
	}
	return events
}

func TestDecodeRows(t *testing.T) {
	t.Parallel()
	events := decodeAll(t, begin(100), describeT(),
		msg('I').u32(1).u8('N').u16(2).value("1").u8('n'),
		msg('U').u32(1).u8('N').u16(2).value("1").u8('u'),
		msg('U').u32(1).u8('K').u16(2).value("1").u8('n').u8('N').u16(2).value("2").value(""),
		msg('D').u32(1).u8('O').u16(2).value("2").value("x"),
		msg('M').u8(0).u64(5).text("p").u32(1).u8('x'),
		msg('T').u32(1).u8(2).u32(1), commit(100, 120))
	var kinds []kind
	for _, e := range events {
		kinds = append(kinds, e.kind)
	}
	want := []kind{kindBegin, kindInsert, kindUpdate, kindUpdate, kindDelete, kindTruncate, kindCommit}
	if len(kinds) != len(want) {
		t.Fatalf("events %v", kinds)
	}
	for i := range want {
		if kinds[i] != want[i] {
			t.Fatalf("events %v", kinds)
		}
	}
	if v := events[1].new; string(v[0]) != "1" || v[1] != nil {
		t.Errorf("insert %q", v)
	}
	if v := events[2].new; !isUnchanged(v[1]) || v.complete() {
		t.Errorf("update %q", v)
	}
	if e := events[3]; e.oldKind != oldKey || string(e.old[0]) != "1" || e.new[1] == nil || len(e.new[1]) != 0 {
		t.Errorf("update of the key %q to %q", e.old, e.new)
	}
	if e := events[4]; e.oldKind != oldRow || string(e.old[1]) != "x" {
		t.Errorf("delete %q", e.old)
	}
	if e := events[5]; !e.restart || len(e.truncated) != 1 {
		t.Errorf("truncate %+v", e)
	}
	if tx := events[6].tx; tx.start != 100 || tx.end != 120 {
		t.Errorf("commit %+v", tx)
	}
	if v := (tuple{[]byte("u")}); isUnchanged(v[0]) {
		t.Error("the text u is taken for an unchanged value")
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	insert := msg('I').u32(1).u8('N').u16(2).value("1").u8('n')
	cases := map[string][]message{
		"nothing":                      {{}},
		"unknown kind":                 {msg('?')},
		"streamed transaction":         {msg('S').u32(1).u8(1)},
		"change outside":               {describeT(), insert},
		"relation not described":       {begin(1), insert},
		"too many columns":             {begin(1), describeT(), msg('I').u32(1).u8('N').u16(3).value("1").u8('n').u8('n')},
		"truncate of too many":         {begin(1), describeT(), msg('T').u32(0x30000000).u8(0).u32(1)},
		"trailing bytes":               {begin(1), describeT(), insert.u8(0)},
		"binary value":                 {begin(1), describeT(), msg('I').u32(1).u8('N').u16(2).u8('b').u32(0).u8('n')},
		"length beyond the end":        {begin(1), describeT(), msg('I').u32(1).u8('N').u16(2).u8('t').u32(0xffffffff).u8('n')},
		"insert with an old row":       {begin(1), describeT(), msg('I').u32(1).u8('K').u16(2).value("1").u8('n')},
		"begin inside":                 {begin(1), begin(2)},
		"commit without begin":         {commit(1, 2)},
		"commit of another":            {begin(1), commit(2, 3)},
		"commit that ends too early":   {begin(5), commit(5, 4)},
		"relation cut short":           {describeT()[:20]},
		"truncate of an unknown table": {begin(1), msg('T').u32(1).u8(0).u32(9)},
	}
	for name, messages := range cases {
		d := newPgoutput("pub", nil, newCounters())
		var err error
		for _, m := range messages {
			if err = d.decode(t.Context(), 0, m, func(event) error { return nil }); err != nil {
				break
			}
		}
		if p, ok := err.(interface{ Permanent() bool }); !ok || !p.Permanent() {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzDecode feeds streams of messages, each preceded by its length: whatever comes, the decoder returns events that point
// into the messages, or an error.
func FuzzDecode(f *testing.F) {
	stream := func(messages ...message) []byte {
		var out []byte
		for _, m := range messages {
			out = append(binary.BigEndian.AppendUint16(out, uint16(len(m))), m...)
		}
		return out
	}
	f.Add(stream(begin(1), describeT(), msg('I').u32(1).u8('N').u16(2).value("1").u8('u'), commit(1, 2)))
	f.Add(stream(begin(1), describeT(), msg('U').u32(1).u8('O').u16(2).value("1").u8('n').u8('N').u16(2).value("1").u8('u'),
		msg('D').u32(1).u8('K').u16(2).value("1").u8('n'), msg('T').u32(1).u8(3).u32(1), commit(1, 2)))
	f.Add(stream(msg('O').u64(1).text("o"), msg('Y').u32(1).text("public").text("e"), msg('M').u8(1).u64(1).text("p").u32(2).u16(1)))
	f.Fuzz(func(t *testing.T, in []byte) {
		d := newPgoutput("pub", nil, newCounters())
		for len(in) >= 2 {
			n := min(int(binary.BigEndian.Uint16(in)), len(in)-2)
			m := in[2 : 2+n]
			in = in[2+n:]
			err := d.decode(t.Context(), 0, m, func(e event) error {
				for _, row := range []tuple{e.old, e.new} {
					if row != nil && len(row) != len(e.relation.columns) {
						t.Fatalf("%d values for %d columns", len(row), len(e.relation.columns))
					}
					for _, v := range row {
						if v != nil && !isUnchanged(v) && !bytes.Contains(m, v) {
							t.Fatalf("value %q is not in the message", v)
						}
					}
				}
				return nil
			})
			if err != nil {
				return
			}
		}
	})
}
