package sync

import (
	"context"

	"pgsyncd/catalog"
	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/fullcopy"
	"pgsyncd/sync/incremental"
	"pgsyncd/sync/ledger"
	"pgsyncd/sync/schema"
)

// clearAway removes what a task that begins anew has on the source, and ends its former position, so that nothing of its former life
// can commit any more. What it made in the destination stays and is filled again, unless it is to be cleared. Every step may be
// repeated, and all are until the new beginning is noted.
func (r *runner) clearAway(ctx context.Context) error {
	if err := r.cleanSource(ctx, false); err != nil {
		return err
	}
	dst, err := r.destination.Connect(ctx, r.application("destination"))
	if err != nil {
		return err
	}
	err = ledger.Reset(ctx, dst, r.task.ID)
	endpoint.CloseConn(ctx, dst)
	if err != nil {
		return err
	}
	if r.notes.Clear {
		slot, publication := "", ""
		if r.incremental() {
			slot, publication = r.notes.Slot, r.notes.Publication
		}
		if err := fullcopy.Clear(ctx, r.copyConfig(slot, publication)); err != nil {
			return err
		}
		r.record(ctx, "info", "destination cleared", "what the task had made in the destination was dropped", "")
	}
	r.figures.begin()
	return r.cfg.Catalog.ForgetProgress(ctx, r.id)
}

// begin shows a task as one of which nothing is done.
func (f *figures) begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.st = catalog.Status{}
	f.tables, f.objects = map[schema.Name]*tableFigure{}, map[objectKey]catalog.ObjectStatus{}
	f.created, f.progress, f.copying = map[objectKey]bool{}, incremental.Progress{}, copying{}
	f.baseRows, f.baseTxns = 0, 0
	f.changed = true
}
