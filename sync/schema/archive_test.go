package schema_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"pgsyncd/sync/schema"

	"github.com/google/go-cmp/cmp"
)

// encoder writes archives as pg_dump does (WriteHead and WriteToc in pg_backup_archiver.c).
type encoder struct {
	bytes.Buffer
	minor int
}

func (w *encoder) int(n int) {
	sign := byte(0)
	if n < 0 {
		sign, n = 1, -n
	}
	w.WriteByte(sign)
	w.Write(binary.LittleEndian.AppendUint32(nil, uint32(n)))
}

func (w *encoder) string(s string) {
	w.int(len(s))
	w.WriteString(s)
}

func encode(minor int, a *schema.Archive) []byte {
	w := &encoder{minor: minor}
	w.WriteString("PGDMP")
	w.Write([]byte{1, byte(minor), 0, 4, 8, 1})
	if minor >= 15 {
		w.WriteByte(2)
	} else {
		w.int(-1)
	}
	for _, n := range []int{1, 2, 3, 4, 5, 126, 0} {
		w.int(n)
	}
	w.string(a.Database)
	w.string(a.ServerVersion)
	w.string(a.DumpVersion)
	w.int(len(a.Entries))
	for _, e := range a.Entries {
		w.entry(e)
	}
	return w.Bytes()
}

func (w *encoder) entry(e schema.Entry) {
	w.int(e.ID)
	w.int(0)
	w.string(strconv.FormatUint(uint64(e.ClassOID), 10))
	w.string(strconv.FormatUint(uint64(e.OID), 10))
	w.string(e.Tag)
	w.string(e.Desc)
	w.int(map[schema.Section]int{
		schema.SectionNone: 1, schema.SectionPreData: 2, schema.SectionData: 3, schema.SectionPostData: 4,
	}[e.Section])
	w.string(e.Definition)
	w.string(e.Drop)
	w.int(-1)
	w.string(e.Namespace)
	w.int(-1)
	if w.minor >= 14 {
		w.string(e.AccessMethod)
	}
	if w.minor >= 16 {
		w.int(int(e.RelKind))
	}
	w.string(e.Owner)
	w.string("false")
	for _, id := range e.Depends {
		w.string(strconv.Itoa(id))
	}
	w.int(-1)
	w.Write([]byte{3, 0, 0, 0, 0, 0, 0, 0, 0})
}

// example is an archive that says something in every field the format version has.
func example(minor int) *schema.Archive {
	a := &schema.Archive{
		Version: "1." + strconv.Itoa(minor) + ".0", Database: "shop", ServerVersion: "9.6.24", DumpVersion: "12.1",
		Entries: []schema.Entry{
			{ID: 7, Section: schema.SectionPreData, Desc: "ENCODING", Tag: "ENCODING", Definition: "SET client_encoding = 'UTF8';"},
			{
				ID: 200, ClassOID: 1259, OID: 4294967295, Section: schema.SectionPreData, Desc: "TABLE", Namespace: "pub\"lic", Tag: "ünï x",
				Owner: "me", Definition: "CREATE TABLE x (\n);", Drop: "DROP TABLE x;", Depends: []int{7, 9},
			},
			{ID: 3, Section: schema.SectionNone, Desc: "COMMENT", Namespace: "public", Tag: "TABLE x", Definition: "COMMENT;", Depends: []int{200}},
			{ID: 4, Section: schema.SectionPostData, Desc: "INDEX", Namespace: "public", Tag: "i", Definition: "CREATE INDEX;"},
			{ID: 5, Section: schema.SectionData, Desc: "BLOB", Tag: "16402"},
		},
	}
	if minor >= 14 {
		a.Entries[1].AccessMethod = "heap2"
	}
	if minor >= 16 {
		a.Entries[1].RelKind = 'r'
	}
	return a
}

func TestReadArchiveVersions(t *testing.T) {
	t.Parallel()
	for minor := 12; minor <= 16; minor++ {
		data := encode(minor, example(minor))
		// One byte at a time, and with data behind the table of contents.
		got, err := schema.ReadArchive(iotest.OneByteReader(bytes.NewReader(append(data, "rows"...))))
		if err != nil {
			t.Fatalf("1.%d: %v", minor, err)
		}
		if diff := cmp.Diff(example(minor), got); diff != "" {
			t.Errorf("1.%d (-want +got):\n%s", minor, diff)
		}
		for cut := range data {
			var malformed *schema.ArchiveError
			if _, err := schema.ReadArchive(bytes.NewReader(data[:cut])); !errors.As(err, &malformed) {
				t.Fatalf("1.%d cut at %d of %d: %v", minor, cut, len(data), err)
			}
		}
	}
}

func TestReadArchiveMalformed(t *testing.T) {
	t.Parallel()
	good := encode(14, example(14))
	with := func(offset int, b ...byte) []byte {
		data := bytes.Clone(good)
		copy(data[offset:], b)
		return data
	}
	for _, test := range []struct {
		name, message string
		data          []byte
	}{
		{"other file", "not an archive", []byte("CREATE TABLE t ();")},
		{"older version", "1.11 is not supported", with(6, 11)},
		{"newer version", "1.17 is not supported", with(6, 17)},
		{"other major version", "2.14 is not supported", with(5, 2)},
		{"tar format", "format 3", with(10, 3)},
		{"no integers", "integers of 0", with(8, 0)},
		{"huge integers", "integers of 255", with(8, 255)},
		{"huge string", "string of", with(51, 0, 255, 255, 255, 0x7f)},
	} {
		_, err := schema.ReadArchive(bytes.NewReader(test.data))
		var malformed *schema.ArchiveError
		if !errors.As(err, &malformed) || !strings.Contains(err.Error(), test.message) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	broken := errors.New("broken pipe")
	if _, err := schema.ReadArchive(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("the reader's own error: %v", err)
	}
}

// samples are archives that pg_dump wrote; see testdata/samples.txt.
func samples(tb testing.TB) map[string][]byte {
	tb.Helper()
	files, err := filepath.Glob("testdata/*.dump")
	if err != nil || len(files) == 0 {
		tb.Fatalf("no samples: %v", err)
	}
	list := map[string][]byte{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		list[filepath.Base(file)] = data
	}
	return list
}

func FuzzReadArchive(f *testing.F) {
	for _, data := range samples(f) {
		f.Add(data)
	}
	for minor := 12; minor <= 16; minor++ {
		f.Add(encode(minor, example(minor)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := schema.ReadArchive(bytes.NewReader(data))
		if err != nil {
			var malformed *schema.ArchiveError
			if !errors.As(err, &malformed) {
				t.Fatalf("error of an unexpected kind: %v", err)
			}
			return
		}
		minor, err := strconv.Atoi(strings.Split(a.Version, ".")[1])
		if err != nil {
			t.Fatal(err)
		}
		again, err := schema.ReadArchive(bytes.NewReader(encode(minor, a)))
		if err != nil {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
		again.Version = a.Version
		if !reflect.DeepEqual(a, again) {
			t.Fatalf("read, written, read (-first +second):\n%s", cmp.Diff(a, again))
		}
		_ = a.SessionSQL()
		for _, all := range []bool{true, false} {
			if _, err := a.Plan(&schema.Inventory{}, schema.Selection{All: all}, schema.PlanOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// The samples were made by `pg_dump -Fc --schema-only` of the version in their name from samples.sql.
func TestReadArchiveSamples(t *testing.T) {
	t.Parallel()
	for name, data := range samples(t) {
		a, err := schema.ReadArchive(bytes.NewReader(data))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := []string{
			`ENCODING "ENCODING"`, `STDSTRINGS "STDSTRINGS"`, `SEARCHPATH "SEARCHPATH"`, `ACCESS METHOD "heap2"`,
			`TABLE "public"."customers"`, `COMMENT "public"."TABLE customers"`, `TABLE "public"."orders"`, `TABLE "public"."orders_1"`,
			`TABLE ATTACH "public"."orders_1"`, `CONSTRAINT "public"."customers customers_pkey"`, `INDEX "public"."by_customer"`,
			`INDEX "public"."orders_1_customer_idx"`, `INDEX ATTACH "public"."orders_1_customer_idx"`,
			`FK CONSTRAINT "public"."orders orders_customer_fkey"`,
		}
		got := slices.DeleteFunc(keys(a.Entries), func(key string) bool { return strings.HasPrefix(key, "DATABASE") })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
			continue
		}
		i := slices.IndexFunc(a.Entries, func(e schema.Entry) bool { return e.Tag == "customers" })
		table, comment := a.Entries[i], a.Entries[i+1]
		if table.AccessMethod != "heap2" || table.ClassOID != 1259 || table.OID == 0 || table.Owner != "postgres" ||
			table.Section != schema.SectionPreData || !strings.HasPrefix(table.Definition, "CREATE TABLE ") || !strings.HasSuffix(table.Definition, ";") {
			t.Errorf("%s: %+v", name, table)
		}
		if !slices.Equal(comment.Depends, []int{table.ID}) || comment.Section != schema.SectionNone {
			t.Errorf("%s: %+v", name, comment)
		}
		if (table.RelKind == 'r') != (a.Version >= "1.16") || !strings.HasPrefix(name, "pg_dump-"+a.DumpVersion[:2]) {
			t.Errorf("%s: version %s by %s, kind %q", name, a.Version, a.DumpVersion, table.RelKind)
		}
		if !strings.Contains(a.SessionSQL(), "SET standard_conforming_strings = 'on'") {
			t.Errorf("%s: session %s", name, a.SessionSQL())
		}
	}
}
