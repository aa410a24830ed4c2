package schema

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The custom format of pg_dump, as in src/bin/pg_dump/pg_backup_archiver.c (ReadHead, ReadToc) and pg_backup_custom.c.
const (
	archiveMagic  = "PGDMP"
	formatCustom  = 1
	oldestArchive = 1<<16 | 12<<8 // 1.12, written by pg_dump 9.0 and later
	newestArchive = 1<<16 | 16<<8 // 1.16, written by pg_dump 17 and 18
	version1_14   = 1<<16 | 14<<8 // table access methods
	version1_15   = 1<<16 | 15<<8 // compression algorithm in place of a level
	version1_16   = 1<<16 | 16<<8 // relkind
)

// Limits against malformed archives, far above what PostgreSQL itself can hold in one catalog row.
const (
	maxString  = 1 << 30
	maxEntries = 1 << 27
	maxDepends = 1 << 24
)

// ArchiveError says where in an archive something is not as pg_dump writes it.
type ArchiveError struct {
	Offset  int64
	Message string
}

func (e *ArchiveError) Error() string {
	return fmt.Sprintf("read pg_dump archive at byte %d: %s", e.Offset, e.Message)
}

// ReadArchive reads header and table of contents of an archive in pg_dump's custom format, versions 1.12 to 1.16, and nothing behind
// them. The error is an *ArchiveError for anything malformed, else the reader's.
func ReadArchive(r io.Reader) (*Archive, error) {
	d := &decoder{r: bufio.NewReaderSize(r, 64<<10)}
	a := d.header()
	for range d.count("entries", maxEntries) {
		e := d.entry()
		if d.err != nil {
			break
		}
		a.Entries = append(a.Entries, e)
	}
	switch {
	case d.err == nil:
		return a, nil
	case errors.Is(d.err, io.EOF), errors.Is(d.err, io.ErrUnexpectedEOF):
		return nil, &ArchiveError{d.offset, "it ends early"}
	}
	return nil, d.err
}

// decoder reads the archive's primitives. The first error sticks: later reads return zero values.
type decoder struct {
	r       *bufio.Reader
	offset  int64
	version int // major<<16 | minor<<8 | revision
	intSize int
	offSize int
	err     error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = &ArchiveError{d.offset, fmt.Sprintf(format, args...)}
	}
}

func (d *decoder) byte() byte {
	if d.err != nil {
		return 0
	}
	b, err := d.r.ReadByte()
	if err != nil {
		d.err = err
		return 0
	}
	d.offset++
	return b
}

// int reads a sign byte and intSize bytes, least significant first.
func (d *decoder) int() int {
	negative := d.byte() != 0
	var v uint64
	for i := range d.intSize {
		b := d.byte()
		if i >= 4 && b != 0 {
			d.fail("integer out of range")
		}
		if i < 4 {
			v |= uint64(b) << (8 * i)
		}
	}
	if v > 1<<31 {
		d.fail("integer out of range")
	}
	if negative {
		return -int(v)
	}
	return int(v)
}

// count reads a number of things and checks it.
func (d *decoder) count(what string, limit int) int {
	n := d.int()
	if n < 0 || n > limit {
		d.fail("%d %s", n, what)
	}
	if d.err != nil {
		return 0
	}
	return n
}

// string reads a counted string; ok is false for NULL, which is a negative length.
func (d *decoder) string() (s string, ok bool) {
	n := d.int()
	if d.err != nil || n < 0 {
		return "", false
	}
	if n > maxString {
		d.fail("string of %d bytes", n)
		return "", false
	}
	// CopyN grows the buffer as bytes arrive: a false length costs no memory.
	var b bytes.Buffer
	read, err := io.CopyN(&b, d.r, int64(n))
	d.offset += read
	if err != nil {
		d.err = err
		return "", false
	}
	return b.String(), true
}

func (d *decoder) text() string {
	s, _ := d.string()
	return s
}

// number reads an integer that pg_dump writes as text.
func (d *decoder) number(what string) uint32 {
	s := d.text()
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		d.fail("%s is %.40q", what, s)
	}
	return uint32(n)
}

func (d *decoder) header() *Archive {
	for i := range len(archiveMagic) {
		if b := d.byte(); d.err == nil && b != archiveMagic[i] {
			d.fail("not an archive of pg_dump")
		}
	}
	vmajor, vminor, revision := d.byte(), d.byte(), d.byte()
	d.version = int(vmajor)<<16 | int(vminor)<<8 | int(revision)
	if d.version < oldestArchive || d.version&^0xff > newestArchive {
		d.fail("archive version %d.%d is not supported", vmajor, vminor)
	}
	d.intSize, d.offSize = int(d.byte()), int(d.byte())
	if d.intSize < 4 || d.intSize > 32 || d.offSize < 1 || d.offSize > 32 {
		d.fail("integers of %d and offsets of %d bytes", d.intSize, d.offSize)
	}
	if format := d.byte(); format != formatCustom {
		d.fail("format %d is not the custom format", format)
	}
	// The table of contents itself is never compressed.
	if d.version >= version1_15 {
		d.byte()
	} else {
		d.int()
	}
	for range 7 { // creation time: second, minute, hour, day, month, year, daylight saving
		d.int()
	}
	return &Archive{
		Version:       fmt.Sprintf("%d.%d.%d", vmajor, vminor, revision),
		Database:      d.text(),
		ServerVersion: d.text(),
		DumpVersion:   d.text(),
	}
}

var sections = map[int]Section{1: SectionNone, 2: SectionPreData, 3: SectionData, 4: SectionPostData}

func (d *decoder) entry() Entry {
	e := Entry{ID: d.int()}
	if e.ID <= 0 {
		d.fail("entry ID %d", e.ID)
	}
	d.int() // whether the entry has data
	e.ClassOID = d.number("catalog OID")
	e.OID = d.number("OID")
	e.Tag = d.text()
	e.Desc = d.text()
	section := d.int()
	e.Section = sections[section]
	if e.Section == "" {
		d.fail("section %d of entry %d", section, e.ID)
	}
	e.Definition = strings.TrimRight(d.text(), "\n")
	e.Drop = strings.TrimRight(d.text(), "\n")
	e.Tag += operands(&e)
	d.text() // COPY statement
	e.Namespace = d.text()
	d.text() // tablespace: not carried
	if d.version >= version1_14 {
		e.AccessMethod = d.text()
	}
	if d.version >= version1_16 {
		e.RelKind = d.relKind()
	}
	e.Owner = d.text()
	d.text() // WITH OIDS
	for {
		s, ok := d.string()
		if !ok {
			break
		}
		id, err := strconv.Atoi(s)
		if err != nil || len(e.Depends) == maxDepends {
			d.fail("dependency %.40q of entry %d", s, e.ID)
			break
		}
		e.Depends = append(e.Depends, id)
	}
	d.byte() // state of the data's offset, then the offset
	for range d.offSize {
		d.byte()
	}
	return e
}

func (d *decoder) relKind() byte {
	k := d.int()
	if k < 0 || k > 127 {
		d.fail("relation kind %d", k)
	}
	return byte(k)
}

// operands returns what tells operators, operator classes and operator families of one name apart: the operand types or the access
// method. pg_dump writes them only in the statement that drops the object.
func operands(e *Entry) string {
	separator := " USING "
	switch e.Desc {
	case "OPERATOR":
		separator = " ("
	case "OPERATOR CLASS", "OPERATOR FAMILY":
	default:
		return ""
	}
	drop := strings.TrimSuffix(e.Drop, ";")
	if i := strings.LastIndex(drop, separator); i >= 0 {
		return drop[i:]
	}
	return ""
}
