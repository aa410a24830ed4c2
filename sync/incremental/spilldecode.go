package incremental

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"
)

// Protocol version 2 of pgoutput (PostgreSQL 14) sends transactions that exceed logical_decoding_work_mem before they have
// committed: in blocks from Stream Start to Stream Stop, which do not overlap, with other transactions between them. Within a block
// every message has the number of its transaction or savepoint behind its type. Stream Abort of a savepoint takes back the messages with
// its number. Stream Abort of the transaction ends it without, Stream Commit with effect. Stream Commits and ordinary transactions
// follow each other in the order of the commits, and the positions of Stream Commit are those of an ordinary commit.
//
// Messages of blocks go to the spill as they come. At Stream Commit they are decoded as those of an ordinary transaction, which
// begins only then.
//
// # Descriptions of relations
//
// The server describes a relation before its first change, and again when something about it may have changed. It keeps book of that
// apart (pgoutput.c: maybe_send_schema, cleanup_rel_sync_cache): for ordinary transactions in one flag per relation; for each
// streamed transaction in a mark on the relation, which Stream Commit turns into the flag, and which Stream Abort, of a savepoint
// too, takes away. Hence
//   - A streamed transaction brings all descriptions that it needs, and none of them holds for other transactions before it
//     commits. It is decoded with its own alone; afterwards they hold for the others as well.
//   - Descriptions that come under the number of a savepoint are taken back with it. What comes after them and before the savepoint's end
//     was done within it, so it needs them no longer either, and the server sends them anew.
//   - What the server takes for known is what it sent last, not what committed last: when a relation changes, both the flag and the
//     marks go. It may describe a relation in a block, then change and describe it in an ordinary transaction (a schema can be renamed
//     while others write to its tables), and Stream Commit comes last: there is no mark any more, and the description in the block is out
//     of date. So descriptions carry the number of the block in or behind which they came, and at Stream Commit only the newer ones
//     replace others.

// description is a relation as it was described in the block with that number, or after it.
type description struct {
	*relation
	block uint64
}

// startBlock begins a block. Its number goes to the file as well.
func (d *pgoutput) startBlock(data []byte) error {
	in := reader{data: data[1:]}
	xid, first := in.uint32(), in.byte() == 1
	err := errShort
	if !in.short {
		err = d.spill.start(xid, first)
	}
	if err != nil {
		return malformed(data, err)
	}
	d.block++
	return d.spill.write(binary.BigEndian.AppendUint64([]byte{blockMark}, d.block))
}

// blockMark begins the record with the number of a block.
const blockMark byte = 'S'

// inBlock takes a message of the block.
func (d *pgoutput) inBlock(data []byte) error {
	switch pglogrepl.MessageType(data[0]) {
	case pglogrepl.MessageTypeInsert, pglogrepl.MessageTypeUpdate, pglogrepl.MessageTypeDelete, pglogrepl.MessageTypeTruncate,
		pglogrepl.MessageTypeRelation, pglogrepl.MessageTypeType, pglogrepl.MessageTypeMessage:
		if len(data) < 1+4 {
			return malformed(data, errShort)
		}
		return d.spill.write(data)
	case pglogrepl.MessageTypeOrigin:
		return nil
	case pglogrepl.MessageTypeStreamStop:
		return d.spill.stop()
	default:
		return malformed(data, errors.New("not expected in a block of a transaction"))
	}
}

// abort takes back a savepoint's messages, or all of the transaction's.
func (d *pgoutput) abort(data []byte) error {
	in := reader{data: data[1:]}
	xid, savepoint := in.uint32(), in.uint32()
	if in.short {
		return malformed(data, errShort)
	}
	t := d.spill.transactions[xid]
	switch {
	case t == nil: // there is nothing to take back
		return nil
	case savepoint != xid:
		t.aborted.add(savepoint)
		return nil
	}
	return d.spill.forget(t)
}

// commitStreamed brings a transaction whose messages have all come before.
func (d *pgoutput) commitStreamed(ctx context.Context, data []byte, out func(event) error) error {
	in := reader{data: data[1:]}
	tx := &transaction{xid: in.uint32()}
	in.byte() // flags, none of which exist
	tx.start, tx.end = pglogrepl.LSN(in.uint64()), pglogrepl.LSN(in.uint64())
	tx.at, tx.time = tx.start, postgresEpoch.Add(time.Duration(int64(in.uint64()))*time.Microsecond)
	t := d.spill.transactions[tx.xid]
	switch {
	case in.short:
		return malformed(data, errShort)
	case t == nil:
		return malformed(data, fmt.Errorf("nothing of transaction %d has come", tx.xid))
	case tx.end < tx.start:
		return malformed(data, fmt.Errorf("commit at %s to %s", tx.start, tx.end))
	}
	return d.replay(ctx, t, tx, out)
}

// replay turns a streamed transaction into an ordinary one. Its commit event comes only after all of the file was found as it was written.
func (d *pgoutput) replay(ctx context.Context, t *spilled, tx *transaction, out func(event) error) error {
	begun := *tx
	begun.end = 0
	if err := out(event{kind: kindBegin, tx: &begun, size: eventSize}); err != nil {
		return err
	}
	shared, block := d.relations, d.block
	d.begun, d.shared, d.relations = &begun, shared, map[uint32]description{}
	err := d.spill.read(t, func(body []byte) error {
		if body[0] == blockMark {
			d.block = binary.BigEndian.Uint64(body[1:])
			return nil
		}
		if t.aborted.has(binary.BigEndian.Uint32(body[1:])) {
			return context.Cause(ctx)
		}
		body[4] = body[0] // an ordinary message is one without the number
		return d.one(body[4:], out)
	})
	if err != nil {
		return err
	}
	for oid, now := range d.relations {
		if known, there := shared[oid]; !there || known.block < now.block {
			shared[oid] = now
		}
	}
	d.begun, d.shared, d.relations, d.block = nil, nil, shared, block
	if err := d.spill.forget(t); err != nil {
		return err
	}
	return out(event{kind: kindCommit, tx: tx, size: eventSize})
}
