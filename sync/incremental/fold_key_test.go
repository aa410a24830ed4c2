package incremental

import "testing"

// TestUnknownKeyDoesNotFold: what stands for a value that was not sent must not be taken for a key.
func TestUnknownKeyDoesNotFold(t *testing.T) {
	t.Parallel()
	f := newFold(&target{key: []int{0}, relation: &relation{columns: make([]column, 2)}, columns: make([]targetColumn, 2)})
	known := event{kind: kindUpdate, oldKind: oldNone, new: tuple{[]byte("u"), unchanged}}
	if !f.add(0, &known) {
		t.Error("an update does not fold")
	}
	if unknown := (event{kind: kindUpdate, oldKind: oldNone, new: tuple{unchanged, []byte("1")}}); f.add(1, &unknown) {
		t.Error("an update of no known row folds")
	}
}
