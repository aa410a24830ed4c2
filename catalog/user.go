package catalog

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// User is a user of the daemon.
type User struct {
	Name      string
	Role      string // admin, operator, monitor
	Verifier  string // PostgreSQL's form SCRAM-SHA-256$iterations:salt$stored:server; empty: no password login
	CreatedAt time.Time
}

const userColumns = `name, role, verifier, created_at`

// User finds a user by name. ErrNotFound if there is none.
func (c *Catalog) User(ctx context.Context, name string) (User, error) {
	u, err := oneUser(ctx, c.pool, "name = $1", name)
	if err != nil {
		return User{}, fmt.Errorf("user %q: %w", name, err)
	}
	return u, nil
}

func oneUser(ctx context.Context, q querier, condition, name string) (User, error) {
	rows, err := q.Query(ctx, "SELECT "+userColumns+" FROM pgsyncd.daemon_user WHERE "+condition, name)
	if err != nil {
		return User{}, err
	}
	u, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[User])
	return u, meaning(err)
}

// CreateUser stores a new user. ErrExists if the name is taken.
func (c *Catalog) CreateUser(ctx context.Context, u User) error {
	_, err := c.pool.Exec(ctx, "INSERT INTO pgsyncd.daemon_user (name, role, verifier) VALUES ($1, $2, $3)", u.Name, u.Role, u.Verifier)
	if err != nil {
		return fmt.Errorf("create user %q: %w", u.Name, meaning(err))
	}
	return nil
}

// AlterUser changes role and verifier of a user under a row lock. An error of change is returned as it is and nothing is
// written. ErrNotFound if there is none.
func (c *Catalog) AlterUser(ctx context.Context, name string, change func(*User) error) error {
	return c.inTx(ctx, func(tx pgx.Tx) error {
		u, err := oneUser(ctx, tx, "name = $1 FOR UPDATE", name)
		if err != nil {
			return fmt.Errorf("alter user %q: %w", name, err)
		}
		if err := change(&u); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE pgsyncd.daemon_user SET role = $2, verifier = $3 WHERE name = $1", name, u.Role, u.Verifier)
		if err != nil {
			return fmt.Errorf("alter user %q: %w", name, err)
		}
		return nil
	})
}

// DropUser removes a user. ErrNotFound if there is none.
func (c *Catalog) DropUser(ctx context.Context, name string) error {
	tag, err := c.pool.Exec(ctx, "DELETE FROM pgsyncd.daemon_user WHERE name = $1", name)
	if err == nil && tag.RowsAffected() == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("drop user %q: %w", name, err)
	}
	return nil
}
