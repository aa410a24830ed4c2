package compare

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/bits"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

const (
	// buckets is into how many parts a table is divided to find what differs, by the hashes of its rows' keys. It is what a server
	// adds up within its default work_mem.
	buckets = 1 << 14
	// small is how many rows, of both sides, are looked at without being divided.
	small = 1 << 17
	// heldRows bounds the rows of differing buckets that are held in memory where the servers may not sort them.
	heldRows = 1 << 20
)

// figure is what is known of one side of a table, or of a bucket; two equal figures mean equal rows.
type figure struct {
	rows int64
	sum  int64 // of the rows' hashes modulo 2⁶⁴; 0 when rows are only counted
}

// modulo2To64 reads a sum as SQL prints it.
func modulo2To64(text string) (int64, error) {
	sum, ok := new(big.Int).SetString(text, 10)
	if !ok {
		return 0, fmt.Errorf("%q is no sum", text)
	}
	mask := new(big.Int).SetUint64(math.MaxUint64)
	return int64(sum.And(sum, mask).Uint64()), nil
}

// figure adds up all rows, in one statement where nothing limits its pace. If the stream falls behind meanwhile, it begins again in
// portions between which it can wait.
func (r *reading) figure(ctx context.Context) (f figure, err error) {
	if err = r.brake.wait(ctx); err == nil && r.pace == nil {
		f, err = r.quickFigure(ctx)
	}
	if err == nil && r.pace != nil || errors.Is(err, errBraked) {
		f = figure{}
		err = r.trickle(ctx, func(e entry) {
			f.rows++
			f.sum += e.image
		})
	}
	if err != nil {
		return f, fmt.Errorf("read %s: %w", r.what, err)
	}
	return f, nil
}

func (r *reading) quickFigure(ctx context.Context) (f figure, err error) {
	query := "SELECT pg_catalog.count(*), '0' FROM (" + r.rows(func(origin) []string { return []string{"1"} }) + ") AS r"
	if r.hash != "" {
		query = "SELECT pg_catalog.count(*), coalesce(pg_catalog.sum(h), 0)::text FROM (" +
			r.rows(func(o origin) []string { return []string{r.imageHash(o)} }) + ") AS r (h)"
	}
	var sum string
	err = guarded(ctx, r.conn, func() error {
		return r.brake.watch(ctx, r.conn, func() error {
			return r.conn.QueryRow(ctx, query, pgx.QueryExecModeSimpleProtocol).Scan(&f.rows, &sum)
		})
	})
	if err == nil {
		f.sum, err = modulo2To64(sum)
	}
	return f, err
}

// divide adds up the rows of every bucket.
func (r *reading) divide(ctx context.Context) ([]figure, error) {
	figures := make([]figure, buckets)
	if r.pace != nil {
		err := r.trickle(ctx, func(e entry) {
			figures[e.bucket()].rows++
			figures[e.bucket()].sum += e.image
		})
		return figures, err
	}
	if err := r.brake.wait(ctx); err != nil {
		return nil, err
	}
	columns, list := "k, h", func(o origin) []string { return []string{r.keyHash(o), r.imageHash(o)} }
	if r.key == nil {
		columns, list = "k", func(o origin) []string { return []string{r.imageHash(o)} }
	}
	query := fmt.Sprintf("SELECT (k & %d)::int, pg_catalog.count(*), pg_catalog.sum(%s)::text FROM (%s) AS r (%s) GROUP BY 1",
		buckets-1, columns[len(columns)-1:], r.rows(list), columns)
	rows, err := r.conn.Query(ctx, query, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return nil, err
	}
	var b int
	var f figure
	var sum string
	_, err = pgx.ForEachRow(rows, []any{&b, &f.rows, &sum}, func() (err error) {
		f.sum, err = modulo2To64(sum)
		figures[b] = f
		return err
	})
	return figures, err
}

// bitmap is a set of buckets as get_bit of PostgreSQL understands it.
type bitmap []byte

func (m bitmap) add(b int)      { m[b/8] |= 1 << (b % 8) }
func (m bitmap) has(b int) bool { return m[b/8]&(1<<(b%8)) != 0 }

func (m bitmap) len() (n int) {
	for _, b := range m {
		n += bits.OnesCount8(b)
	}
	return n
}

// differing are the buckets whose figures differ, nil for all because the table is small. Where rows are held in memory there are only
// as many of them as there is room for, and the second result is true if that are not all.
func differing(ctx context.Context, source, destination *reading, rows int64) (bitmap, bool, error) {
	if rows <= small {
		return nil, false, nil
	}
	var a, b []figure
	err := both(
		func() (err error) { a, err = source.divide(ctx); return err },
		func() (err error) { b, err = destination.divide(ctx); return err })
	if err != nil {
		return nil, false, err
	}
	room := int64(math.MaxInt64)
	if source.pace != nil {
		room = heldRows
	}
	set, partial := pickUnequal(a, b, room)
	return set, partial, nil
}

// pickUnequal returns the buckets whose figures differ, the first of them at least, and further ones as long as there is room for their rows.
// True says that these are not all.
func pickUnequal(a, b []figure, room int64) (bitmap, bool) {
	set := make(bitmap, len(a)/8)
	for i := range a {
		if a[i] == b[i] {
			continue
		}
		room -= a[i].rows + b[i].rows
		if room < 0 && set.len() > 0 {
			return set, true
		}
		set.add(i)
	}
	return set, false
}

// both does the same on both sides at once. It goes without a context, since cancelling the other side would cost its connection.
func both(source, destination func() error) error {
	var g errgroup.Group
	g.Go(source)
	g.Go(destination)
	return g.Wait()
}

// entry is what is known of a row while it is looked for: the hashes of its key and content, and its ctid.
type entry struct {
	key, image int64
	block      uint32
	offset     uint16
}

func (e entry) bucket() int { return int(e.key & (buckets - 1)) }

// readEntry reads the binary form of key, image and ctid.
func readEntry(values [][]byte) entry {
	return entry{
		int64(binary.BigEndian.Uint64(values[0])), int64(binary.BigEndian.Uint64(values[1])),
		binary.BigEndian.Uint32(values[2]), binary.BigEndian.Uint16(values[2][4:]),
	}
}

// sorted gives the entries of a set of buckets, nil for all, in the order of key and image, a batch at a time.
func (r *reading) sorted(ctx context.Context, set bitmap, batch func([]entry)) error {
	if err := r.brake.wait(ctx); err != nil {
		return err
	}
	condition := ""
	if set != nil {
		condition = fmt.Sprintf(` WHERE pg_catalog.get_bit('\x%x'::bytea, (k & %d)::int) = 1`, []byte(set), buckets-1)
	}
	query := "SELECT k, h, t FROM (" + r.rows(func(o origin) []string { return []string{r.keyHash(o), r.imageHash(o), r.tid()} }) +
		") AS r (k, h, t)" + condition + " ORDER BY 1, 2"
	result := r.conn.PgConn().ExecParams(ctx, query, nil, nil, nil, []int16{pgx.BinaryFormatCode})
	const size = 1 << 10
	entries := make([]entry, 0, size)
	for result.NextRow() {
		if entries = append(entries, readEntry(result.Values())); len(entries) == size {
			batch(entries)
			entries = make([]entry, 0, size)
		}
	}
	_, err := result.Close()
	batch(entries)
	return err
}
