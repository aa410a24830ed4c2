package incremental

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgsyncd/sync/endpoint"
)

func newSpill(t *testing.T) *spill {
	t.Helper()
	s, err := openSpill(t.TempDir(), "task", 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

// keep writes blocks of records, one transaction after the other in turn.
func keep(t *testing.T, s *spill, blocks int, records func(xid uint32, block int) [][]byte, xids ...uint32) {
	t.Helper()
	for block := range blocks {
		for _, xid := range xids {
			err := s.start(xid, block == 0)
			for _, r := range records(xid, block) {
				if err == nil {
					err = s.write(r)
				}
			}
			if err == nil {
				err = s.stop()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

func (s *spill) all(xid uint32) (bodies [][]byte, err error) {
	err = s.read(s.transactions[xid], func(body []byte) error { bodies = append(bodies, body); return nil })
	return bodies, err
}

// Whatever happens to a file, its transaction does not become another one.
func TestDamageToASpilledTransactionIsNoticed(t *testing.T) {
	t.Parallel()
	s := newSpill(t)
	keep(t, s, 2, func(_ uint32, block int) [][]byte {
		return [][]byte{[]byte("first"), {}, []byte("other"), []byte("other"), bytes.Repeat([]byte{byte(block)}, 40)}
	}, 7)
	path := filepath.Join(s.path, "7")
	intact, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.all(7); err != nil || len(got) != 10 || string(got[0]) != "first" || got[9][0] != 1 {
		t.Fatalf("%q, %v", got, err)
	}
	damage := map[string][]byte{"empty": nil, "longer": append(slices.Clone(intact), 0)}
	for i := range intact {
		flipped := slices.Clone(intact)
		flipped[i] ^= 1 << (i % 8)
		damage[fmt.Sprint("flipped ", i)], damage[fmt.Sprint("cut ", i)] = flipped, intact[:i]
	}
	const head, first, none = spillRecord, spillRecord + 5, spillRecord
	third := intact[first+none : first+none+head+5]
	damage["without a record"] = append(slices.Clone(intact[:first]), intact[first+none:]...)
	damage["a record twice"] = append(slices.Clone(intact[:first]), intact...)
	damage["records exchanged"] = slices.Concat(third, intact[first:first+none], intact[:first], intact[first+none+head+5:])
	damage["a record in place of another"] = slices.Concat(third, intact[first:])
	for name, content := range damage {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.all(7); endpoint.Classify(err) != endpoint.FaultOther || !strings.Contains(err.Error(), "spilled transaction 7") {
			t.Errorf("%s: %v", name, err)
		} else if name == "flipped 0" && !strings.Contains(err.Error(), "its length") {
			t.Errorf("%s: memory was taken for it: %v", name, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := s.all(7); endpoint.Classify(err) != endpoint.FaultOther {
		t.Errorf("removed: %v", err)
	}
}

// Neither files nor memory are held open for transactions whose block is over.
func TestThousandsOfSpilledTransactions(t *testing.T) {
	t.Parallel()
	s := newSpill(t)
	xids := make([]uint32, 3000)
	for i := range xids {
		xids[i] = 4294966000 + uint32(i)
	}
	record := func(xid uint32, block int) [][]byte {
		return [][]byte{[]byte(fmt.Sprint(xid, " in ", block)), bytes.Repeat([]byte{byte(xid)}, int(xid%500))}
	}
	keep(t, s, 3, record, xids...)
	if s.file != nil || s.current != nil || s.out.Buffered() != 0 {
		t.Error("a block that is over is held")
	}
	for _, xid := range xids {
		got, err := s.all(xid)
		if err != nil {
			t.Fatal(err)
		}
		for block := range 3 {
			for i, want := range record(xid, block) {
				if !bytes.Equal(got[2*block+i], want) {
					t.Fatalf("transaction %d holds %q in place of %q", xid, got[2*block+i], want)
				}
			}
		}
		if err := s.forget(s.transactions[xid]); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := os.ReadDir(s.path); err != nil || len(left) > 0 || len(s.transactions) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestLargeRecordsAreSpilled(t *testing.T) {
	t.Parallel()
	s := newSpill(t)
	sizes := []int{0, 1, blockSize / 4, blockSize, spillBuffer - spillRecord, spillBuffer, spillBuffer + 1, 3 * roomInterval, 5}
	keep(t, s, 1, func(uint32, int) (records [][]byte) {
		for i, n := range sizes {
			records = append(records, bytes.Repeat([]byte{byte(i)}, n))
		}
		return records
	}, 1)
	got, err := s.all(1)
	for i, n := range sizes {
		if err != nil || !bytes.Equal(got[i], bytes.Repeat([]byte{byte(i)}, n)) {
			t.Fatalf("record of %d bytes: %v", n, err)
		}
	}
}

// Only the owner may look at what tables hold.
func TestSpilledTransactionsArePrivate(t *testing.T) {
	t.Parallel()
	s := newSpill(t)
	keep(t, s, 1, func(uint32, int) [][]byte { return [][]byte{[]byte("secret")} }, 1)
	for path, want := range map[string]os.FileMode{s.path: 0o700 | os.ModeDir, filepath.Join(s.path, "1"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	s.close()
	if _, err := os.Stat(s.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

// What a killed process left is removed, and another stream of the task, which may still run, writes nowhere any more.
func TestSpillBeginsEmpty(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	former, err := openSpill(dir, "task", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer former.close()
	one := func(uint32, int) [][]byte { return [][]byte{[]byte("x")} }
	keep(t, former, 1, one, 1)
	s, err := openSpill(dir, "task", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if found, err := os.ReadDir(s.path); err != nil || len(found) > 0 {
		t.Errorf("found %v, %v", found, err)
	}
	keep(t, s, 1, one, 1)
	refused := (*refusedError)(nil)
	if err := errors.Join(former.start(2, true), former.write([]byte("y")), former.stop()); !errors.As(err, &refused) {
		t.Errorf("the former stream wrote: %v", err)
	}
	if got, err := s.all(1); err != nil || len(got) != 1 {
		t.Errorf("%q, %v", got, err)
	}
}

// A disk that takes no more is told apart from every other fault.
func TestDiskThatIsShort(t *testing.T) {
	t.Parallel()
	full := func(t *testing.T, s *spill) error {
		t.Helper()
		file, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.start(1, true); err != nil {
			t.Fatal(err)
		}
		s.file, s.current.begun = file, true
		return errors.Join(s.write([]byte("x")), s.stop())
	}
	reserved := func(t *testing.T, s *spill) error {
		t.Helper()
		s.reserve = 1 << 62
		if err := s.start(1, true); err != nil {
			t.Fatal(err)
		}
		return errors.Join(s.write([]byte("x")), s.stop())
	}
	for name, fill := range map[string]func(*testing.T, *spill) error{"full": full, "reserved": reserved} {
		s := newSpill(t)
		refused := (*refusedError)(nil)
		if err := fill(t, s); !errors.As(err, &refused) || refused.path != s.path || refused.free == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused := (*refusedError)(nil)
	if _, err := openSpill(file, "task", 1); !errors.As(err, &refused) {
		t.Errorf("no directory: %v", err)
	}
}

func TestXidSet(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1)) //nolint:gosec // the same numbers every time
	var set xidSet
	want := map[uint32]bool{}
	for range 5000 {
		xid := rng.Uint32()
		if rng.IntN(3) > 0 {
			xid = 4294967295 - xid%3000
		}
		set.add(xid)
		want[xid] = true
	}
	for xid := range want {
		for _, x := range []uint32{xid - 1, xid, xid + 1, xid ^ 512, xid ^ 64} {
			if set.has(x) != want[x] {
				t.Fatalf("%d: %t", x, set.has(x))
			}
		}
	}
}

// in makes a message one of a block.
func in(xid uint32, m message) message {
	return append(binary.BigEndian.AppendUint32(message{m[0]}, xid), m[1:]...)
}

func describe(name string) message {
	return msg('R').u32(1).text(name).text("t").u8('d').u16(1).u8(1).text("id").u32(23).u32(0xffffffff)
}

func insert(v string) message { return msg('I').u32(1).u8('N').u16(1).value(v) }

func startOf(xid uint32, first byte) message { return msg('S').u32(xid).u8(first) }

func stop() message { return msg('E') }

func commitOf(xid uint32, lsn uint64) message {
	return msg('c').u32(xid).u8(0).u64(lsn).u64(lsn + 5).u64(0)
}

func abortOf(xid, savepoint uint32) message { return msg('A').u32(xid).u32(savepoint) }

// told decodes messages and tells what came out, such as "begin 100, a.t 1, commit 105".
func told(t *testing.T, d *pgoutput, messages ...message) (string, error) {
	t.Helper()
	var out []string
	for _, m := range messages {
		err := d.decode(t.Context(), 0, m, func(e event) error {
			switch e.kind {
			case kindBegin:
				out = append(out, fmt.Sprint("begin ", uint64(e.tx.start)))
			case kindCommit:
				out = append(out, fmt.Sprint("commit ", uint64(e.tx.end)))
			default:
				out = append(out, e.relation.name.Schema+"."+e.relation.name.Name+" "+string(e.new[0]))
			}
			return nil
		})
		if err != nil {
			return strings.Join(out, ", "), fmt.Errorf("%q: %w", m[:1], err)
		}
	}
	return strings.Join(out, ", "), nil
}

func TestDecodeStreamedTransactions(t *testing.T) {
	t.Parallel()
	ordinary := func(lsn uint64, messages ...message) []message {
		return slices.Concat([]message{begin(lsn)}, messages, []message{commit(lsn, lsn+5)})
	}
	block := func(xid uint32, first byte, messages ...message) []message {
		all := []message{startOf(xid, first)}
		for _, m := range messages {
			all = append(all, in(xid, m))
		}
		return append(all, stop())
	}
	saved := func(xid uint32, messages ...message) (all []message) {
		for _, m := range messages {
			all = append(all, in(xid, m))
		}
		return all
	}
	cases := map[string]struct {
		messages []message
		want     string
	}{
		"nothing before the commit": {slices.Concat(block(7, 1, describe("a"), insert("1"))), ""},
		"in the order of commits": {
			slices.Concat(block(7, 1, describe("a"), insert("1")), block(8, 1, describe("a"), insert("2")),
				ordinary(100, describe("a"), insert("3")), block(7, 0, insert("4")), []message{commitOf(8, 200), commitOf(7, 300)}, ordinary(400, insert("5"))),
			"begin 100, a.t 3, commit 105, begin 200, a.t 2, commit 205, begin 300, a.t 1, a.t 4, commit 305, begin 400, a.t 5, commit 405",
		},
		"origin and type": {slices.Concat([]message{
			startOf(7, 1), msg('O').u64(1).text("o"), in(7, msg('Y').u32(1).text("public").text("e")),
			in(7, describe("a")), in(7, insert("1")), stop(), commitOf(7, 100),
		}), "begin 100, a.t 1, commit 105"},
		"without changes":   {slices.Concat(block(7, 1), []message{commitOf(7, 100)}), "begin 100, commit 105"},
		"aborted":           {slices.Concat(block(7, 1, describe("a"), insert("1")), []message{abortOf(7, 7)}, ordinary(100, describe("b"), insert("2"))), "begin 100, b.t 2, commit 105"},
		"its number again":  {slices.Concat(block(7, 1, describe("a"), insert("1")), []message{abortOf(7, 7)}, block(7, 1, describe("a"), insert("2")), []message{commitOf(7, 100)}), "begin 100, a.t 2, commit 105"},
		"abort of a nobody": {slices.Concat([]message{abortOf(9, 9), abortOf(9, 10)}, ordinary(100, describe("a"), insert("1"))), "begin 100, a.t 1, commit 105"},
		"savepoint taken back, with its description": {slices.Concat([]message{startOf(7, 1)}, saved(8, describe("a"), insert("1")), saved(9, insert("2")), []message{stop(), abortOf(7, 9), abortOf(7, 8)},
			block(7, 0, describe("b"), insert("3")), []message{commitOf(7, 100)}), "begin 100, b.t 3, commit 105"},
		"savepoint of another": {slices.Concat([]message{startOf(7, 1)}, saved(9, describe("a"), insert("1")), []message{stop()}, block(8, 1, describe("a"), insert("2")),
			[]message{abortOf(8, 9), commitOf(7, 100), commitOf(8, 200)}), "begin 100, a.t 1, commit 105, begin 200, a.t 2, commit 205"},
		"what it describes holds afterwards": {
			slices.Concat(ordinary(50, describe("a"), insert("0")), block(7, 1, describe("a"), insert("1"), describe("b"), insert("2")),
				ordinary(100, insert("3")), []message{commitOf(7, 200)}, ordinary(300, insert("4"))),
			"begin 50, a.t 0, commit 55, begin 100, a.t 3, commit 105, begin 200, a.t 1, b.t 2, commit 205, begin 300, b.t 4, commit 305",
		},
		"what was described since holds afterwards": {
			slices.Concat(block(7, 1, describe("a"), insert("1")), ordinary(100, describe("b"), insert("2")),
				[]message{commitOf(7, 200)}, ordinary(300, insert("3"))),
			"begin 100, b.t 2, commit 105, begin 200, a.t 1, commit 205, begin 300, b.t 3, commit 305",
		},
		"what another described since holds afterwards": {
			slices.Concat(block(7, 1, describe("a"), insert("1")), block(8, 1, describe("b"), insert("2")),
				[]message{commitOf(8, 100), commitOf(7, 200)}, ordinary(300, insert("3"))),
			"begin 100, b.t 2, commit 105, begin 200, a.t 1, commit 205, begin 300, b.t 3, commit 305",
		},
	}
	for name, c := range cases {
		d := newPgoutput("pub", newSpill(t), newCounters())
		if got, err := told(t, d, c.messages...); err != nil || got != c.want {
			t.Errorf("%s: %s\nwant %s, %v", name, got, c.want, err)
		}
	}
}

func TestDecodeRefusesStreamed(t *testing.T) {
	t.Parallel()
	cases := map[string][]message{
		"not asked for, inside a transaction": {begin(1), startOf(7, 1)},
		"goes on without having begun":        {startOf(7, 0)},
		"begins twice":                        {startOf(7, 1), stop(), startOf(7, 1)},
		"block in a block":                    {startOf(7, 1), startOf(8, 1)},
		"begin in a block":                    {startOf(7, 1), begin(1)},
		"commit in a block":                   {startOf(7, 1), commitOf(7, 1)},
		"abort in a block":                    {startOf(7, 1), abortOf(7, 7)},
		"stop outside":                        {stop()},
		"commit of a nobody":                  {commitOf(7, 1)},
		"commit that ends too early":          {startOf(7, 1), stop(), msg('c').u32(7).u8(0).u64(5).u64(4).u64(0)},
		"commit cut short":                    {startOf(7, 1), stop(), commitOf(7, 1)[:20]},
		"start cut short":                     {startOf(7, 1)[:5]},
		"abort cut short":                     {startOf(7, 1), stop(), abortOf(7, 7)[:8]},
		"change cut short":                    {startOf(7, 1), insert("1")[:4]},
		"change without a description":        {describe("a"), startOf(7, 1), in(7, insert("1")), stop(), commitOf(7, 1)},
		"description of another":              {startOf(7, 1), in(7, describe("a")), stop(), startOf(8, 1), in(8, insert("1")), stop(), commitOf(8, 1)},
		"description that was not committed":  {startOf(7, 1), in(7, describe("a")), stop(), begin(1), insert("1")},
		"description that was taken back":     {startOf(7, 1), in(7, describe("a")), stop(), abortOf(7, 7), begin(1), insert("1")},
	}
	for name, messages := range cases {
		_, err := told(t, newPgoutput("pub", newSpill(t), newCounters()), messages...)
		if endpoint.Classify(err) != endpoint.FaultPermanent {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A replay that is told to end ends, even where it has nothing to say.
func TestReplayEndsWithItsContext(t *testing.T) {
	t.Parallel()
	d := newPgoutput("pub", newSpill(t), newCounters())
	if _, err := told(t, d, startOf(7, 1), in(7, describe("a")), in(8, insert("1")), stop(), abortOf(7, 8)); err != nil {
		t.Fatal(err)
	}
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if err := d.decode(ctx, 0, commitOf(7, 100), func(event) error { return nil }); !errors.Is(err, cause) {
		t.Errorf("ended with %v", err)
	}
	if err := newPgoutput("pub", newSpill(t), newCounters()).decode(t.Context(), 0, begin(1), func(event) error { return cause }); !errors.Is(err, cause) {
		t.Errorf("ended with %v", err)
	}
}

// Relations that did not change stay the same ones, for the applier knows them by their address.
func TestStreamedTransactionsShareRelations(t *testing.T) {
	t.Parallel()
	d := newPgoutput("pub", newSpill(t), newCounters())
	relations := map[*relation]bool{}
	messages := []message{begin(1), describe("a"), insert("0"), commit(1, 2)}
	for xid := uint32(7); xid < 12; xid++ {
		messages = append(messages, startOf(xid, 1), in(xid, describe("a")), in(xid, insert(strconv.Itoa(int(xid)))), stop(), commitOf(xid, uint64(xid)*100))
	}
	for _, m := range messages {
		err := d.decode(t.Context(), 0, m, func(e event) error {
			if e.relation != nil {
				relations[e.relation] = true
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(relations) != 1 {
		t.Errorf("%d relations", len(relations))
	}
}

// FuzzDecodeStreamed feeds streams of messages, each preceded by its length: whatever comes, the decoder returns whole transactions of changes
// that fit their relations, one after the other, or an error.
func FuzzDecodeStreamed(f *testing.F) {
	stream := func(messages ...message) (out []byte) {
		for _, m := range messages {
			out = append(binary.BigEndian.AppendUint16(out, uint16(len(m))), m...)
		}
		return out
	}
	f.Add(stream(startOf(7, 1), in(7, describe("a")), in(7, insert("1")), in(8, insert("2")), stop(), abortOf(7, 8), startOf(9, 1), in(9, describe("b")), in(9, insert("3")), stop(),
		begin(90), describe("a"), insert("4"), commit(90, 95), startOf(7, 0), in(7, insert("5")), stop(), commitOf(7, 100), commitOf(9, 200)))
	f.Add(stream(startOf(7, 1), in(7, describe("a")), in(7, msg('T').u32(1).u8(3).u32(1)), in(7, msg('U').u32(1).u8('K').u16(1).value("1").u8('N').u16(1).value("2")),
		msg('O').u64(1).text("o"), in(7, msg('D').u32(1).u8('O').u16(1).value("2")), stop(), commitOf(7, 100), begin(200), insert("1"), commit(200, 205)))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := openSpill(dir, "task", 1)
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		d := newPgoutput("pub", s, newCounters())
		inside := false
		for len(data) >= 2 {
			n := min(int(binary.BigEndian.Uint16(data)), len(data)-2)
			m := slices.Clone(data[2 : 2+n])
			data = data[2+n:]
			err := d.decode(t.Context(), 0, m, func(e event) error {
				if inside == (e.kind == kindBegin) {
					t.Fatalf("event %s", e.kind)
				}
				inside = e.kind != kindCommit
				for _, row := range []tuple{e.old, e.new} {
					if row != nil && len(row) != len(e.relation.columns) {
						t.Fatalf("%d values for %d columns", len(row), len(e.relation.columns))
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
