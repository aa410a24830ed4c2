package fullcopy

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"pgsyncd/sync/ledger"

	"github.com/jackc/pgx/v5"
)

// Keys of the ledger. Objects come in ascending order of their OIDs, so one number tells how far the task is. What is in the
// destination up to that number is the task's own, except for objects that were there before and left alone.
const (
	lobOwn   = "LARGE OBJECTS UP TO "
	lobAlone = "LARGE OBJECT LEFT ALONE "
)

// readMarks reads where the task stands.
func (l *largeObjects) readMarks(ctx context.Context) error {
	rows, err := l.destination.Query(ctx, `SELECT task = $1::uuid, key FROM pgsyncd.objects WHERE key LIKE 'LARGE OBJECT%'`, l.cfg.Task)
	if err != nil {
		return fmt.Errorf("read marks of large objects: %w", err)
	}
	var mine bool
	var key string
	_, err = pgx.ForEachRow(rows, []any{&mine, &key}, func() error {
		for prefix, take := range map[string]func(uint32){
			ledger.LargeObjects: func(oid uint32) { l.done = max(l.done, oid) },
			lobOwn:              func(oid uint32) { l.own = max(l.own, oid) },
			lobAlone:            func(oid uint32) { l.alone[oid] = true },
		} {
			text, ok := strings.CutPrefix(key, prefix)
			oid, err := strconv.ParseUint(text, 10, 32)
			switch {
			case !ok || err != nil:
			case mine:
				take(uint32(oid))
			case prefix == lobOwn:
				l.others = max(l.others, uint32(oid))
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read marks of large objects: %w", err)
	}
	return nil
}

// mark records, in the transaction that brings them, that all objects up to one are copied, and which of them were not.
func (l *largeObjects) mark(ctx context.Context, tx pgx.Tx, oid uint32) error {
	if err := ledger.Check(ctx, tx, l.cfg.Task, l.fence); err != nil {
		return err
	}
	var add, remove []string
	for _, n := range l.found {
		add = append(add, lobAlone+number(n))
	}
	for _, n := range l.gone {
		remove = append(remove, lobAlone+number(n))
	}
	if oid > l.done {
		add, remove = append(add, ledger.LargeObjects+number(oid)), append(remove, ledger.LargeObjects+number(l.done))
	}
	if oid > l.own {
		add, remove = append(add, lobOwn+number(oid)), append(remove, lobOwn+number(l.own))
	}
	for _, key := range remove {
		if err := ledger.ForgetObject(ctx, tx, l.cfg.Task, key); err != nil {
			return err
		}
	}
	return ledger.MarkObject(ctx, tx, l.cfg.Task, add...)
}

func number(oid uint32) string { return strconv.FormatUint(uint64(oid), 10) }
