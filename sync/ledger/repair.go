package ledger

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// repairPrefix begins the key under objects that a repair of rows leaves in its transaction, so that it can be told whether that was
// committed; the mark follows.
const repairPrefix = "REPAIR "

// MarkRepair leaves the mark of a repair, in its transaction. The ledger is made where it is missing, and cannot be dropped before tx has
// ended.
func MarkRepair(ctx context.Context, tx pgx.Tx, task, mark string) error {
	if err := ensure(ctx, tx); err != nil {
		return fmt.Errorf("create ledger: %w", err)
	}
	return MarkObject(ctx, tx, task, repairPrefix+mark)
}

// Repaired reports whether the transaction that left a mark was committed, provided that it has ended.
func Repaired(ctx context.Context, tx pgx.Tx, task, mark string) (bool, error) {
	tables, err := existing(ctx, tx)
	if err == nil && tables < 3 {
		return false, nil
	}
	var there bool
	if err == nil {
		err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pgsyncd.objects WHERE task = $1::uuid AND key = $2)`, task, repairPrefix+mark).Scan(&there)
	}
	if err != nil {
		return false, fmt.Errorf("look for the mark of a repair: %w", err)
	}
	return there, nil
}

// ForgetRepair takes a mark away, and the ledger if nothing else is in it.
func ForgetRepair(ctx context.Context, conn *pgx.Conn, task, mark string) error {
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := lock(ctx, tx); err != nil {
			return err
		}
		if tables, err := existing(ctx, tx); err != nil || tables < 3 {
			return err
		}
		if err := ForgetObject(ctx, tx, task, repairPrefix+mark); err != nil {
			return err
		}
		return dropUnused(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("forget the mark of a repair: %w", err)
	}
	return nil
}
