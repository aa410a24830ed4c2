package sqlapi

import (
	"maps"
	"slices"
	"strings"
)

// unsupported is 0A000 for something the language has and this version cannot do.
func unsupported(what string) *Error {
	return Errorf(CodeUnsupported, "%s is not supported by this version", what)
}

// notYetForms are the statements that this version refuses altogether, each with what to do instead.
var notYetForms = map[*Form]string{
	formClone:         "SHOW CREATE SYNC TASK prints a statement to start from.",
	formExplainCreate: "PRECHECK SYNC TASK shows what is in the way of a task.",
	formExplainTask:   "PRECHECK SYNC TASK shows what is in the way of a task.",
	formShowDDLSetup:  "DDL is not replicated; execute it on both sides, the destination first.",
}

// supported refuses what this version cannot do, so that nothing is accepted and then ignored.
func supported(stmt Statement) error {
	if hint, refused := notYetForms[FormOf(stmt)]; refused {
		return unsupported(FormOf(stmt).Tag).WithHint("%s", hint)
	}
	switch s := stmt.(type) {
	case *CreateTask:
		return supportedOptions(s.Options)
	case *AlterTask:
		return supportedAction(s.Action)
	}
	return nil
}

// notYet are the options, or values of options, that have no effect in this version. The empty text stands for any value.
var notYet = map[string]string{
	"sync_ddl": "true",
}

func supportedOptions(options map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(options)) {
		if value, ok := notYet[name]; ok && (value == "" || value == options[name]) {
			return unsupported(strings.TrimSpace("option " + name + " " + when(value != "", "= "+value))).WithHint("Leave the option out.")
		}
	}
	return nil
}

func supportedAction(action AlterAction) error {
	switch a := action.(type) {
	case SetOptions:
		return supportedOptions(a.Options)
	case AddObjects, DropObjects:
		return unsupported("changing the objects of a task").WithHint("Create another task for the further tables.")
	case SkipDDL, RetryDDL:
		return unsupported("DDL replication").WithHint("Execute DDL on both sides, the destination first.")
	}
	return nil
}

// acceptable refuses a selection that contradicts itself.
func acceptable(stmt Statement) error {
	var err error
	switch s := stmt.(type) {
	case *CreateTask:
		_, err = selectionOf(s.Scope, s.Accounts)
	case *AlterTask:
		if a, ok := s.Action.(SetScope); ok {
			_, err = selectionOf(a.Scope, Accounts{})
		}
	}
	return err
}
