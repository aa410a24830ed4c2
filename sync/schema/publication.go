package schema

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// filteredPublication is the first version whose publications have conditions on rows and lists of columns.
const filteredPublication = 150000

// PublicationError says why a table cannot be published with its condition or its columns.
type PublicationError struct {
	Table  Name
	Reason string
	Advice string
	Cause  error // the server's, nil when it was not asked
}

func (e *PublicationError) Error() string {
	return fmt.Sprintf("publish %s: %s", e.Table, e.Reason)
}

// Unwrap returns Cause.
func (e *PublicationError) Unwrap() error { return e.Cause }

// Permanent reports that somebody has to change the table or the selection.
func (e *PublicationError) Permanent() bool { return true }

// Detail is empty; it comes with Hint.
func (e *PublicationError) Detail() string { return "" }

// Hint says what can be done.
func (e *PublicationError) Hint() string { return e.Advice }

// CreatePublication creates a publication of the inventory's tables except those that skip names. It must be made in a transaction
// that commits before a slot is created, because pgoutput looks at the catalogs as they were at each change. Once it has committed,
// the source refuses UPDATE and DELETE on tables whose condition or list of columns does not go with their replica identity; so
// that is tried here, and the error, which joins one *PublicationError for each table that cannot be published, tells not to commit.
//
// Of a partition tree the topmost table is published, which stands for all leaves, those attached later too; before 13 only leaves
// can be. Changes are published under the leaf's name either way, and hence with the leaf's own condition and columns: a
// partitioned table can have none. ONLY keeps tables that merely inherit out: they are listed themselves. Unlogged tables leave
// nothing in the WAL.
func CreatePublication(ctx context.Context, tx pgx.Tx, name string, inv *Inventory, skip func(Name) bool) error {
	publication := pgx.Identifier{name}.Sanitize()
	var plain []string
	var special []*Table
	var refused []error
	for i := range inv.Tables {
		t := &inv.Tables[i]
		err := t.publishable(inv.Version)
		switch {
		case t.Unlogged || skip(t.Name) || t.Kind == KindPartitioned && inv.Version < 130000:
		case err != nil:
			refused = append(refused, err)
		case t.Kind == KindTable && inv.publishedIn(t) != "":
			special = append(special, t)
		case inv.Version < 130000 || inv.parent(t) == nil:
			plain = append(plain, t.Name.String())
		}
	}
	sql := "CREATE PUBLICATION " + publication
	if len(plain) > 0 {
		sql += " FOR TABLE ONLY " + strings.Join(plain, ", ONLY ")
	}
	if _, err := tx.Exec(ctx, sql); err != nil {
		return err
	}
	for _, t := range special {
		var refusal *PublicationError
		err := inv.publish(ctx, tx, publication, t)
		switch {
		case errors.As(err, &refusal):
			refused = append(refused, err)
		case err != nil:
			return err
		}
	}
	if refused != nil {
		return errors.Join(refused...)
	}
	return sealPublication(ctx, tx, name)
}

// publishedIn is what follows a table's name in a publication: its columns and the condition on its rows; empty where it is published
// whole. A list of columns cannot go with REPLICA IDENTITY FULL: such a table is published with all columns, and so are all before
// 15. Generated columns are computed in the destination.
func (inv *Inventory) publishedIn(t *Table) string {
	var clause strings.Builder
	if len(t.Omitted) > 0 && t.Identity != IdentityFull && inv.Version >= filteredPublication {
		var columns []string
		for _, c := range t.Columns {
			if c.Generated == "" {
				columns = append(columns, pgx.Identifier{c.Name}.Sanitize())
			}
		}
		if columns != nil {
			clause.WriteString(" (" + strings.Join(columns, ", ") + ")")
		}
	}
	if t.Filter != "" {
		clause.WriteString(" WHERE (" + t.Filter + "\n)") // it may end in a comment
	}
	return clause.String()
}

// publishable looks for what no publication can do.
func (t *Table) publishable(version int) error {
	if t.Filter != "" && version < filteredPublication {
		return &PublicationError{
			Table: t.Name, Reason: "before PostgreSQL 15 a publication cannot select rows",
			Advice: "Remove the condition, or synchronize the table in a task with MODE FULL.",
		}
	}
	taken := func(name string) bool {
		return slices.ContainsFunc(t.Columns, func(c Column) bool { return c.Name == name })
	}
	for _, column := range t.Key {
		if !taken(column) {
			return &PublicationError{
				Table: t.Name, Reason: "column " + pgx.Identifier{column}.Sanitize() + " of its replica identity is not selected",
				Advice: "Select the column: without it rows that are updated or deleted cannot be found in the destination.",
			}
		}
	}
	return nil
}

// publish adds one table with its columns and condition, and tries whether its rows can still be changed.
func (inv *Inventory) publish(ctx context.Context, tx pgx.Tx, publication string, t *Table) error {
	for _, sql := range []string{
		"ALTER PUBLICATION " + publication + " ADD TABLE ONLY " + t.Name.String() + inv.publishedIn(t),
		// Planning a change is enough for the server to look whether it may be made.
		"EXPLAIN DELETE FROM ONLY " + t.Name.String(),
	} {
		err := pgx.BeginFunc(ctx, tx, func(sub pgx.Tx) error {
			_, err := sub.Exec(ctx, sql)
			return err
		})
		var pg *pgconn.PgError
		switch {
		case err == nil:
		case !errors.As(err, &pg):
			return err
		case pg.Code == "42501" && strings.HasPrefix(sql, "EXPLAIN"): // whoever owns a table may have given up a privilege on it
		case pg.Code == "55000" && strings.HasPrefix(sql, "EXPLAIN"): // it has no replica identity: that is so without the publication
		default:
			return &PublicationError{Table: t.Name, Reason: reason(pg), Advice: advice(pg, t), Cause: err}
		}
	}
	return nil
}

func reason(pg *pgconn.PgError) string {
	if pg.Detail != "" {
		return pg.Message + " (" + pg.Detail + ")"
	}
	return pg.Message
}

// advice says what can be done about the server's refusal.
func advice(pg *pgconn.PgError, t *Table) string {
	if pg.Code == "42P10" && t.Identity != IdentityFull {
		return "Every column in the condition must be part of the replica identity: choose other columns, or run ALTER TABLE " +
			t.Name.String() + " REPLICA IDENTITY FULL on the source."
	}
	return "The stream takes only conditions of built-in immutable functions and operators on the table's own columns. " +
		"Change the condition, or synchronize the table in a task with MODE FULL."
}

// parent is the partitioned table of the inventory that t is a partition of, nil when there is none.
func (inv *Inventory) parent(t *Table) *Table {
	if !t.Partition || len(t.Parents) == 0 {
		return nil
	}
	return inv.Table(t.Parents[0])
}

// sealSQL is a fingerprint of the conditions of a publication ($1), empty where there is none.
const sealSQL = `SELECT coalesce(pg_catalog.md5(pg_catalog.string_agg(r.prrelid::text || ' ' || (pg_catalog.to_json(r) ->> 'prqual'), ' ' ORDER BY r.prrelid)), ''),
		coalesce(pg_catalog.obj_description(p.oid, 'pg_publication'), '')
	FROM pg_catalog.pg_publication p
	LEFT JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid AND pg_catalog.to_json(r) ->> 'prqual' IS NOT NULL
	WHERE p.pubname = $1 GROUP BY p.oid`

const sealPrefix = "pgsyncd conditions "

// sealPublication writes the fingerprint of the conditions into the publication's comment. A condition cannot be compared with the
// text it was made of.
func sealPublication(ctx context.Context, tx pgx.Tx, name string) error {
	var seal, comment string
	if err := tx.QueryRow(ctx, sealSQL, name).Scan(&seal, &comment); err != nil {
		return fmt.Errorf("read conditions: %w", err)
	}
	if seal == "" {
		return nil
	}
	_, err := tx.Exec(ctx, "COMMENT ON PUBLICATION "+pgx.Identifier{name}.Sanitize()+" IS "+Literal(sealPrefix+seal))
	return err
}

// PublicationSealed reports whether the conditions of a publication are those it was created with.
func PublicationSealed(ctx context.Context, q Querier, name string) (bool, error) {
	var seal, comment string
	err := q.QueryRow(ctx, sealSQL, name).Scan(&seal, &comment)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read conditions of publication %s: %w", name, err)
	}
	return seal == "" && !strings.HasPrefix(comment, sealPrefix) || comment == sealPrefix+seal, nil
}
