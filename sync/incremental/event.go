package incremental

import (
	"sync/atomic"
	"time"

	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
)

// kind of an event.
type kind string

const (
	kindBegin    kind = "begin"
	kindCommit   kind = "commit"
	kindInsert   kind = "insert"
	kindUpdate   kind = "update"
	kindDelete   kind = "delete"
	kindTruncate kind = "truncate"
	kindPosition kind = "position" // everything that committed before lsn has been sent
)

// What the old tuple of an update or delete holds.
const (
	oldNone byte = 0
	oldKey  byte = 'K' // the columns of the replica identity, others are NULL
	oldRow  byte = 'O' // all columns
)

// event is what every decoder produces, in the order of the stream: begin, changes, commit, begin, …, with positions between.
type event struct {
	kind    kind
	oldKind byte
	restart bool // truncate: RESTART IDENTITY
	reply   bool // position: the source waits for a confirmation
	size    int  // bytes of memory

	relation  *relation
	old, new  tuple
	truncated []*relation
	tx        *transaction  // begin, commit; changes get it when they are assembled
	lsn       pglogrepl.LSN // position
}

// transaction is a committed transaction of the source.
type transaction struct {
	start pglogrepl.LSN // of its commit record, or what stands for it: see testDecoding
	at    pglogrepl.LSN // to be shown
	end   pglogrepl.LSN // of its commit record; 0 in a begin event
	time  time.Time     // by the source's clock
	xid   uint32
}

// relation is a table of the source in the shape it had when the changes that point to it were made. A new shape is a new
// relation.
type relation struct {
	oid      uint32
	name     schema.Name
	identity byte // pg_class.relreplident
	columns  []column
	counter  *tableCounter

	// Of test_decoding only:
	unreadable string // why its changes cannot be read; without columns then
	partition  bool
	wanted     atomic.Bool // the applier has a target for it
}

type column struct {
	name    string
	key     bool // of the replica identity; all columns are under identity full
	typeOID uint32
	typmod  int32
}

func (r *relation) same(o *relation) bool {
	if r.oid != o.oid || r.name != o.name || r.identity != o.identity || r.partition != o.partition || r.unreadable != o.unreadable || len(r.columns) != len(o.columns) {
		return false
	}
	for i := range r.columns {
		if r.columns[i] != o.columns[i] {
			return false
		}
	}
	return true
}

// tuple holds the values of a relation's columns in text format: nil for NULL, unchanged for a TOASTed value that was not
// sent because the update did not touch it.
type tuple [][]byte

// unchanged is recognised by its address.
var unchanged = []byte{'u'}

func isUnchanged(v []byte) bool { return len(v) == 1 && &v[0] == &unchanged[0] }

// complete reports whether every value is known.
func (t tuple) complete() bool {
	for _, v := range t {
		if isUnchanged(v) {
			return false
		}
	}
	return true
}
