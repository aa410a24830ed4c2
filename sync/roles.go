package sync

import (
	"context"
	"errors"
	"strings"

	"pgsyncd/catalog"
	"pgsyncd/sync/accounts"
	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/ledger"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// accountOptions remember in the ledger which roles are the task's own.
func (r *runner) accountOptions(ctx context.Context, dst *pgx.Conn) (accounts.Options, error) {
	done, err := ledger.Objects(ctx, dst, r.id)
	return accounts.Options{
		Accounts: r.selection.Accounts,
		Created:  func(role string) bool { return done[ledger.RoleKey(role)] },
		Record: func(ctx context.Context, tx pgx.Tx, role string) error {
			return ledger.MarkObject(ctx, tx, r.id, ledger.RoleKey(role))
		},
	}, err
}

// createRoles makes the chosen roles before anything is to belong to them. The full copy calls it in each of its runs.
func (r *runner) createRoles(ctx context.Context, src, dst *pgx.Conn) ([]string, error) {
	o, err := r.accountOptions(ctx, dst)
	if err != nil {
		return nil, err
	}
	list, roles, err := accounts.Create(ctx, src, dst, o)
	if err != nil {
		return nil, err
	}
	return roles, r.saveAccounts(ctx, list)
}

// carryMemberships makes the chosen roles members of each other as they are in the source, at the end of the task.
func (r *runner) carryMemberships(ctx context.Context) error {
	if r.selection.Accounts.None() {
		return nil
	}
	src, err := r.source.Connect(ctx, r.application("source"))
	if err != nil {
		return err
	}
	defer endpoint.CloseConn(ctx, src)
	dst, err := r.destination.Connect(ctx, r.application("destination"))
	if err != nil {
		return err
	}
	defer endpoint.CloseConn(ctx, dst)
	o, err := r.accountOptions(ctx, dst)
	if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) && pg.Code == "42P01" { // undefined_table: the ledger is erased after this was done
		return nil
	}
	if err != nil {
		return err
	}
	more, err := accounts.Memberships(ctx, src, dst, o)
	if err != nil {
		return err
	}
	return r.saveAccounts(ctx, more)
}

// saveAccounts records what became of roles, beside what was recorded of them before.
func (r *runner) saveAccounts(ctx context.Context, list []accounts.Account) error {
	known, err := r.cfg.Catalog.Accounts(ctx, r.id)
	if err != nil {
		return err
	}
	rows := make([]catalog.AccountStatus, len(list))
	for i, a := range list {
		rows[i] = catalog.AccountStatus{Role: a.Role, Synchronized: a.Synchronized, Remarks: a.Remarks}
		for _, k := range known {
			if k.Role != a.Role {
				continue
			}
			rows[i].Synchronized = rows[i].Synchronized || k.Synchronized
			if !strings.Contains(k.Remarks, a.Remarks) { // what is done again says the same again
				rows[i].Remarks = strings.TrimSpace(k.Remarks + " " + a.Remarks)
			} else {
				rows[i].Remarks = k.Remarks
			}
		}
	}
	return r.cfg.Catalog.SaveAccounts(ctx, r.id, rows)
}
