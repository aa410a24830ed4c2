package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

type Config struct {
	DataDir, ConnInfo, RunAs, SecretKeyFile, AdminPassword string
	Logger                                                 *slog.Logger
}
type Catalog struct{ pool *pgxpool.Pool }

var errPending = errors.New("pending")

func Open(ctx context.Context, cfg Config) (*Catalog, error) { return nil, errPending }
func (c *Catalog) Close(ctx context.Context) error           { return errPending }
func (c *Catalog) Err() <-chan error                         { return nil }
func (c *Catalog) Pool() *pgxpool.Pool                       { return c.pool }
func (c *Catalog) Session(ctx context.Context, role string, params map[string]string) (*pgconn.HijackedConn, error) {
	return nil, errPending
}
func (c *Catalog) CancelSession(ctx context.Context, hc *pgconn.HijackedConn) error {
	return errPending
}
func (c *Catalog) CreateTask(ctx context.Context, t Task) (Task, error)  { return t, errPending }
func (c *Catalog) Task(ctx context.Context, name string) (Task, error)   { return Task{}, errPending }
func (c *Catalog) TaskByID(ctx context.Context, id string) (Task, error) { return Task{}, errPending }
func (c *Catalog) Tasks(ctx context.Context) ([]Task, error)             { return nil, errPending }
func (c *Catalog) UpdateTask(ctx context.Context, id string, change func(*Task) error) error {
	return errPending
}
func (c *Catalog) Fire(ctx context.Context, id string, ev Event, ch Change) (Task, error) {
	return Task{}, errPending
}
func (c *Catalog) SetRuntime(ctx context.Context, id string, runtime json.RawMessage) error {
	return errPending
}
func (c *Catalog) DropTask(ctx context.Context, id string) error { return errPending }
func (c *Catalog) Log(ctx context.Context, task, level, event, message, detail string) error {
	return errPending
}
func (c *Catalog) SaveStatus(ctx context.Context, id string, s Status) error { return errPending }
func (c *Catalog) SaveTables(ctx context.Context, id string, tables []TableStatus) error {
	return errPending
}
func (c *Catalog) Tables(ctx context.Context, id string) ([]TableStatus, error) {
	return nil, errPending
}
func (c *Catalog) SaveObjects(ctx context.Context, id string, objects []ObjectStatus) error {
	return errPending
}
func (c *Catalog) SavePrechecks(ctx context.Context, id string, rows []PrecheckRow) error {
	return errPending
}
func (c *Catalog) AddConflicts(ctx context.Context, id string, conflicts []Conflict) error {
	return errPending
}
func (c *Catalog) SaveLeftovers(ctx context.Context, id, task string, leftovers []Leftover) error {
	return errPending
}
func (c *Catalog) ClearProgress(ctx context.Context, id string) error          { return errPending }
func (c *Catalog) Prune(ctx context.Context) error                             { return errPending }
func (c *Catalog) AddCompare(ctx context.Context, r CompareRun) (int64, error) { return 0, errPending }
func (c *Catalog) NextCompare(ctx context.Context) (CompareRun, bool, error) {
	return CompareRun{}, false, errPending
}
func (c *Catalog) UpdateCompare(ctx context.Context, r CompareRun) error { return errPending }
func (c *Catalog) Compare(ctx context.Context, id int64) (CompareRun, error) {
	return CompareRun{}, errPending
}
func (c *Catalog) CancelCompare(ctx context.Context, id int64) error { return errPending }
func (c *Catalog) CompareCancelled(ctx context.Context, id int64) (bool, error) {
	return false, errPending
}
func (c *Catalog) RequeueCompares(ctx context.Context) (int, error)           { return 0, errPending }
func (c *Catalog) SaveCompareTable(ctx context.Context, t CompareTable) error { return errPending }
func (c *Catalog) AddSchedule(ctx context.Context, s Schedule) error          { return errPending }
func (c *Catalog) Schedule(ctx context.Context, name string) (Schedule, error) {
	return Schedule{}, errPending
}
func (c *Catalog) Schedules(ctx context.Context) ([]Schedule, error) { return nil, errPending }
func (c *Catalog) UpdateSchedule(ctx context.Context, name string, change func(*Schedule) error) error {
	return errPending
}
func (c *Catalog) DropSchedule(ctx context.Context, name string) error { return errPending }
func (c *Catalog) DueSchedules(ctx context.Context, now time.Time) ([]Schedule, error) {
	return nil, errPending
}
func (c *Catalog) ClaimSchedule(ctx context.Context, name string, expected, next time.Time) (bool, error) {
	return false, errPending
}
func (c *Catalog) User(ctx context.Context, name string) (User, error) { return User{}, errPending }
func (c *Catalog) CreateUser(ctx context.Context, u User) error        { return errPending }
func (c *Catalog) AlterUser(ctx context.Context, name string, change func(*User) error) error {
	return errPending
}
func (c *Catalog) DropUser(ctx context.Context, name string) error { return errPending }
func Verifier(password string) (string, error)                     { return "", errPending }
func (c *Catalog) PutResult(ctx context.Context, token string, rows [][]*string) error {
	return errPending
}
func (c *Catalog) DropResults(ctx context.Context, tokens ...string) error { return errPending }
