package sync

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pgsyncd/catalog"
	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/ledger"
	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
)

// patience is how long a forced stop waits for one side.
const patience = 15 * time.Second

// forceStop ends a task whatever state its servers are in. What it cannot remove, and the sequences, which nobody has
// brought up to date, are listed with the statements that do it.
func (r *runner) forceStop(ctx context.Context) {
	var left []catalog.Leftover
	if r.notes.Phase != phaseNew {
		var sequences []schema.Sequence
		if r.incremental() {
			var err error
			if sequences, err = r.forceSource(ctx); err != nil {
				r.record(ctx, "warning", "source not cleaned", r.explain(err).Error, "")
				left = append(left, r.sourceLeftovers()...)
			}
		}
		more, err := r.forceDestination(ctx, sequences)
		if err != nil {
			r.record(ctx, "warning", "destination not cleaned", r.explain(err).Error, "")
		}
		left = append(left, more...)
	}
	settled, cancel := settle(ctx)
	defer cancel()
	if err := r.cfg.Catalog.SaveLeftovers(settled, r.task.ID, r.task.Name, left); err != nil {
		r.fail(ctx, err)
		return
	}
	message := "nothing is left behind"
	if len(left) > 0 {
		message = fmt.Sprintf("%d objects are left; see SELECT * FROM sync_leftovers WHERE task = '%s'", len(left), r.task.Name)
	}
	if r.task.State == catalog.StateStopping {
		r.fire(ctx, catalog.EventDrained, catalog.Change{})
	}
	r.fire(ctx, catalog.EventCompleted, catalog.Change{Message: message})
}

// forceSource removes slot and publication within patience, ending a walsender that holds the slot, and returns the
// sequences with their values; nil when they could not be read.
func (r *runner) forceSource(ctx context.Context) ([]schema.Sequence, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("the source did not answer in time"))
	defer cancel()
	src, err := r.source.Connect(ctx, r.application("source"))
	if err != nil {
		return nil, err
	}
	defer endpoint.CloseConn(ctx, src)
	var sequences []schema.Sequence
	if inv, err := schema.Read(ctx, src, r.selection); err != nil {
		r.record(ctx, "warning", "sequences not read", r.explain(err).Error, "")
	} else {
		sequences = append([]schema.Sequence{}, inv.Sequences...)
	}
	if err := endSlotHolder(ctx, src, r.notes.Slot); err != nil {
		return sequences, err
	}
	if err := dropSlot(ctx, src, r.notes.Slot); err != nil {
		return sequences, err
	}
	return sequences, r.dropPublication(ctx, src)
}

func (r *runner) sourceLeftovers() []catalog.Leftover {
	left := []catalog.Leftover{{Side: "source", Kind: "replication slot", Name: r.notes.Slot, CleanupSQL: dropSlotSQL(r.notes.Slot) + ";"}}
	if p := r.notes.Publication; p != "" {
		left = append(left, catalog.Leftover{Side: "source", Kind: "publication", Name: p, CleanupSQL: dropPublicationSQL(p) + ";"})
	}
	return left
}

// forceDestination removes the ledger's rows within patience and lists the sequences that are to be set: those of a task that
// has streamed, because the copy alone sets them itself.
func (r *runner) forceDestination(ctx context.Context, sequences []schema.Sequence) ([]catalog.Leftover, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("the destination did not answer in time"))
	defer cancel()
	streamed := r.incremental() && r.notes.Phase == phaseIncremental
	if !streamed {
		sequences = nil
	}
	var left []catalog.Leftover
	shared := sharedSequences(sequences)
	for _, s := range sequences {
		if s.Readable {
			left = append(left, sequenceLeftover(s.Target.String(), setvalSQL(s, r.options.SequenceMargin, r.appends() || shared[s.Target])))
		}
	}
	dst, err := r.destination.Connect(ctx, r.application("destination"))
	if err == nil {
		defer endpoint.CloseConn(ctx, dst)
		if streamed && sequences == nil {
			owned, err := r.ownedSequences(ctx, dst)
			if err != nil {
				r.record(ctx, "warning", "sequences not read", r.explain(err).Error, "")
			}
			left = append(left, owned...)
		}
		err = ledger.Erase(ctx, dst, r.task.ID)
	}
	if err != nil {
		left = append(left, catalog.Leftover{
			Side: "destination", Kind: "ledger", Name: ledger.Schema,
			CleanupSQL: ledgerCleanup(r.task.ID),
		})
	}
	return left, err
}

// ledgerCleanup does by hand what ledger.Erase does: it removes a task's rows, and the tables once they are empty.
func ledgerCleanup(task string) string {
	return fmt.Sprintf(`DO $$ BEGIN
  IF to_regclass('%[1]s.progress') IS NULL THEN RETURN; END IF;
  LOCK TABLE %[1]s.progress IN ACCESS EXCLUSIVE MODE;
  DELETE FROM %[1]s.progress WHERE task = '%[2]s';
  DELETE FROM %[1]s.copied WHERE task = '%[2]s';
  DELETE FROM %[1]s.objects WHERE task = '%[2]s';
  IF NOT EXISTS (SELECT FROM %[1]s.progress) THEN
    DROP TABLE %[1]s.progress, %[1]s.copied, %[1]s.objects;
    BEGIN DROP SCHEMA %[1]s; EXCEPTION WHEN dependent_objects_still_exist THEN NULL; END;
  END IF;
END $$;`, ledger.Schema, task)
}

func sequenceLeftover(name, setval string) catalog.Leftover {
	return catalog.Leftover{Side: "destination", Kind: "sequence", Name: name, CleanupSQL: setval + ";"}
}

// ownedSequences lists, from the destination alone, the serial and identity columns of the task's tables with the
// statement that sets each sequence past the last value in its column, within its bounds.
func (r *runner) ownedSequences(ctx context.Context, dst *pgx.Conn) ([]catalog.Leftover, error) {
	tables, err := r.cfg.Catalog.Tables(ctx, r.task.ID)
	if err != nil {
		return nil, err
	}
	schemas, names := make([]string, len(tables)), make([]string, len(tables))
	for i, t := range tables {
		schemas[i], names[i] = t.DestinationSchema, t.DestinationTable
	}
	rows, err := dst.Query(ctx, `
		SELECT DISTINCT pg_catalog.format('%I.%I', sn.nspname, s.relname), pg_catalog.format('%I.%I', tn.nspname, t.relname), a.attname,
			i.increment LIKE '-%', CASE WHEN i.increment LIKE '-%' THEN i.minimum_value ELSE i.maximum_value END
		FROM pg_catalog.pg_depend d
		JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
		JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace
		JOIN information_schema.sequences i ON i.sequence_schema = sn.nspname AND i.sequence_name = s.relname
		JOIN pg_catalog.pg_class t ON t.oid = d.refobjid
		JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
		JOIN unnest($1::text[], $2::text[]) u (nspname, relname) ON u.nspname = tn.nspname AND u.relname = t.relname
		JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
		WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
		  AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
		ORDER BY 1`, schemas, names)
	if err != nil {
		return nil, fmt.Errorf("list sequences of the destination: %w", err)
	}
	var left []catalog.Leftover
	var sequence, table, column, bound string
	var falling bool
	_, err = pgx.ForEachRow(rows, []any{&sequence, &table, &column, &falling, &bound}, func() error {
		within, last, sign := "least", "max", "+"
		if falling {
			within, last, sign = "greatest", "min", "-"
		}
		left = append(left, sequenceLeftover(sequence, fmt.Sprintf(
			"SELECT pg_catalog.setval(%s::pg_catalog.regclass, %s(coalesce(%s(%s), 0)::numeric %s %d, %s)::bigint) FROM %s",
			schema.Literal(sequence), within, last, pgx.Identifier{column}.Sanitize(), sign, max(r.options.SequenceMargin, 1), bound, table)))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list sequences of the destination: %w", err)
	}
	return left, nil
}
