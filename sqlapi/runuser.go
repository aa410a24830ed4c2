package sqlapi

import (
	"context"
	"errors"

	"pgsyncd/catalog"
)

func noUser(name string) *Error {
	return Errorf(CodeUndefined, "user %q does not exist", name).WithHint("SELECT name, role FROM sync_users;")
}

func (e *Engine) createUser(ctx context.Context, stmt *CreateUser) error {
	verifier, err := catalog.Verifier(stmt.Password.Reveal())
	if err != nil {
		return invalid("%s", err)
	}
	err = e.cfg.Catalog.CreateUser(ctx, catalog.User{Name: stmt.Name, Role: string(stmt.Role), Verifier: verifier})
	if errors.Is(err, catalog.ErrExists) {
		return Errorf(CodeDuplicate, "user %q already exists", stmt.Name)
	}
	return err
}

func (e *Engine) alterUser(ctx context.Context, stmt *AlterUser) error {
	if stmt.Role != "" && stmt.Role != Admin {
		if err := keepAnAdmin(stmt.Name); err != nil {
			return err
		}
	}
	err := e.cfg.Catalog.AlterUser(ctx, stmt.Name, func(u *catalog.User) (err error) {
		if stmt.Role != "" {
			u.Role = string(stmt.Role)
			return nil
		}
		if u.Verifier, err = catalog.Verifier(stmt.Password.Reveal()); err != nil {
			return invalid("%s", err)
		}
		return nil
	})
	if errors.Is(err, catalog.ErrNotFound) {
		return noUser(stmt.Name)
	}
	return err
}

func (e *Engine) dropUser(ctx context.Context, s *Session, stmt *DropUser) error {
	if err := keepAnAdmin(stmt.Name); err != nil {
		return err
	}
	err := e.cfg.Catalog.DropUser(ctx, stmt.Name)
	if !errors.Is(err, catalog.ErrNotFound) {
		return err
	}
	if stmt.IfExists {
		s.Notice(Notice{Message: noUser(stmt.Name).Message + ", skipping"})
		return nil
	}
	return noUser(stmt.Name)
}

// localAdmin is whom the Unix socket admits.
const localAdmin = "admin"

// keepAnAdmin refuses to take the privilege from the user that the Unix socket admits: somebody must be able to make users.
func keepAnAdmin(name string) error {
	if name != localAdmin {
		return nil
	}
	return Errorf(CodeWrongState, "user %q must stay and keep the role ADMIN", name).
		WithDetail("It is the user that the daemon's Unix socket admits.").
		WithHint("Its password can be changed: ALTER SYNC USER %s PASSWORD '…';", name)
}
