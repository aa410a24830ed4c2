package sqlapi

import (
	"context"

	"pgsyncd/sync/endpoint"
)

func (e *Engine) precheck(ctx context.Context, stmt *PrecheckTask) error {
	t, err := e.find(ctx, stmt.Name)
	if err != nil {
		return err
	}
	_, err = e.cfg.Supervisor.Precheck(ctx, t)
	return err
}

func (e *Engine) testTask(ctx context.Context, stmt *TestTask) ([][]*string, error) {
	t, err := e.find(ctx, stmt.Name)
	if err != nil {
		return nil, err
	}
	source, destination, err := e.cfg.Supervisor.Endpoints(t)
	if err != nil {
		return nil, err
	}
	return append(testRows(ctx, source, endpoint.Source), testRows(ctx, destination, endpoint.Destination)...), nil
}

func (e *Engine) testConnection(ctx context.Context, s *Session, stmt *TestConnection) ([][]*string, error) {
	ep, err := e.parseEndpoint(s, stmt.Conninfo, "")
	if err != nil {
		return nil, err
	}
	role := string(stmt.Side)
	if role == "" {
		role = endpoint.Destination // asks for less
	}
	return testRows(ctx, ep, role), nil
}

func testRows(ctx context.Context, ep *endpoint.Endpoint, role string) [][]*string {
	rows := [][]*string{}
	for _, c := range endpoint.Test(ctx, ep, role) {
		rows = append(rows, cells(role, c.Item, c.Result, c.Found, c.Suggestion))
	}
	return rows
}
