package sqlapi

import (
	"slices"
	"strings"
)

// Form is what all statements of one kind have in common. The forms are also the help texts: SHOW SYNC HELP and the HINT of every
// syntax error come from them.
type Form struct {
	Tag         string // the constant leading words, which are also the command tag
	Synopsis    string
	Description string
	Privilege   Privilege // what a user needs
	Rows        bool      // returns rows; the command tag then is SELECT n
	Changes     bool      // changes something, and is therefore refused inside a transaction block
}

// short returns the synopsis as it fits a HINT.
func (f *Form) short() string {
	switch f {
	case formCreateTask, formExplainCreate:
		return createShort
	case formAlterTask:
		return alterShort
	}
	return f.Synopsis
}

// Clauses, as the HINT of an error inside one of them shows them.
const (
	targetsSynopsis  = "{ name [, ...] | WHERE TAG key = 'value' }"
	confirmSynopsis  = "[ CONFIRM { ALL | ( 'item' [, ...] ) } ]"
	modeSynopsis     = "MODE { FULL | INCREMENTAL | FULL AND INCREMENTAL }"
	scopeSynopsis    = "FOR { ALL [ MAP ( map_item [, ...] ) ] [ EXCEPT ( pattern [, ...] ) ] | ( object [, ...] ) }"
	accountsSynopsis = "ACCOUNTS { NONE | ALL | ( role [, ...] ) }"
	startSynopsis    = "START { MANUAL | NOW | AT 'timestamptz' }"
	flowSynopsis     = "FLOW { LIMIT n MB PER SECOND [ BETWEEN 'hh:mm' AND 'hh:mm' [, ...] ] | UNLIMITED }"
	optionsSynopsis  = "( option [ = value ] [, ...] )"
	tagsSynopsis     = "TAGS ( key = 'value' [, ...] )"
	objectSynopsis   = `object: SCHEMA s [ AS s2 ]
        | TABLE [s.]t [ AS [s2.]t2 ] [ ( column [ AS column2 ] [, ...] ) ] [ WHERE ( boolean expression ) ]
        | TABLES MATCHING 'pattern'
        | { VIEW | MATERIALIZED VIEW | SEQUENCE } [s.]n [ AS [s2.]n2 ]`
	mapSynopsis     = "map_item: SCHEMA s AS s2 | TABLE [s.]t AS [s2.]t2"
	patternSynopsis = "pattern: SCHEMA s | TABLE [s.]t | TABLES MATCHING 'pattern'"
	droppedSynopsis = "DROP ( { TABLE | SCHEMA | VIEW | MATERIALIZED VIEW | SEQUENCE } name [, ...] )"
)

// Statements with more clauses than fit a HINT have a short form for errors between clauses.
const (
	createShort = "CREATE SYNC TASK [ IF NOT EXISTS ] name FROM 'conninfo' TO 'conninfo' [ MODE ... ] [ FOR ... ] " +
		"[ ACCOUNTS ... ] [ START ... ] [ FLOW ... ] [ WITH ( ... ) ] [ COMMENT 'text' ] [ TAGS ( ... ) ]"
	createSynopsis = `CREATE SYNC TASK [ IF NOT EXISTS ] name
    FROM 'conninfo'
    TO 'conninfo'
    [ ` + modeSynopsis + ` ]
    [ ` + scopeSynopsis + ` ]
    [ ` + accountsSynopsis + ` ]
    [ ` + startSynopsis + ` ` + confirmSynopsis + ` ]
    [ ` + flowSynopsis + ` ]
    [ WITH ` + optionsSynopsis + ` ]
    [ COMMENT 'text' ]
    [ ` + tagsSynopsis + ` ]
  ` + objectSynopsis + `
  ` + mapSynopsis + `
  ` + patternSynopsis

	alterShort = "ALTER SYNC TASK [ IF EXISTS ] name { RENAME TO name | COMMENT 'text' | SET ... | RESET ( ... ) | DROP TAG key | " +
		"ADD ( ... ) | DROP ( ... ) | SKIP DDL 'lsn' | RETRY DDL }"
	alterSynopsis = `ALTER SYNC TASK [ IF EXISTS ] name action
  action: RENAME TO name | COMMENT 'text' | SET TAG key = 'value' | DROP TAG key
        | SET ( option = value [, ...] ) | RESET ( option [, ...] )
        | SET { SOURCE | DESTINATION } [ PASSWORD ] 'conninfo or password'
        | SET ` + startSynopsis + ` | SET ` + flowSynopsis + `
        | SET ` + modeSynopsis + ` | SET ` + scopeSynopsis + `
        | SET ` + accountsSynopsis + `
        | ADD ( object [, ...] ) | ` + droppedSynopsis + `
        | SKIP DDL 'lsn' | RETRY DDL`
)

// The forms of control statements.
var (
	formCreateTask = &Form{
		"CREATE SYNC TASK", createSynopsis,
		"Defines the synchronization of one source database to one destination database; clauses come in any order. The task starts by hand " +
			"unless START says otherwise. FOR ALL, the default, takes the whole database as it is at the start; MAP and AS give other names. " +
			"ACCOUNTS carries roles, owners and privileges. FLOW limits the full phase.", Operator, false, true,
	}
	formAlterTask = &Form{
		"ALTER SYNC TASK", alterSynopsis,
		"Changes a task. Mode, objects and accounts change only before the start, the flow limit at any time; ADD and DROP change the objects " +
			"of a running incremental task; SKIP DDL and RETRY DDL go on after a DDL statement stopped it.", Operator, false, true,
	}
	formTestTask = &Form{
		"TEST SYNC TASK", "TEST SYNC TASK name",
		"Connects to both endpoints of a task and returns one row per question, with the cause of a failure.", Operator, true, false,
	}
	formTestConnection = &Form{
		"TEST SYNC CONNECTION", "TEST SYNC CONNECTION 'conninfo' [ AS { SOURCE | DESTINATION } ]",
		"Connects to an endpoint that no task has yet and returns the outcome.", Operator, true, false,
	}
	formPrecheck = &Form{
		"PRECHECK SYNC TASK", "PRECHECK SYNC TASK name",
		"Checks everything a task needs and returns one row per check: passed, to confirm or failed, what was found and what to do. " +
			"A task starts only when nothing failed and what is to confirm was confirmed.", Operator, true, true,
	}
	formExplainCreate = &Form{
		"EXPLAIN CREATE SYNC TASK", "EXPLAIN CREATE SYNC TASK ...",
		"Shows what CREATE SYNC TASK would synchronize, with a forecast; changes nothing.", Operator, true, false,
	}
	formExplainTask = &Form{
		"EXPLAIN SYNC TASK", "EXPLAIN SYNC TASK name",
		"Shows what a task would do, its objects and a forecast; changes nothing.", Operator, true, false,
	}
	formStart = &Form{
		"START SYNC TASK", "START SYNC TASK [ IF EXISTS ] " + targetsSynopsis + " [ AT 'timestamptz' ] " + confirmSynopsis,
		"Starts tasks, now or at a time. CONFIRM accepts what the precheck left to confirm.", Operator, false, true,
	}
	formPause = &Form{
		"PAUSE SYNC TASK", "PAUSE SYNC TASK " + targetsSynopsis,
		"Pauses tasks. The source keeps its WAL for them meanwhile.", Operator, false, true,
	}
	formResume = &Form{
		"RESUME SYNC TASK", "RESUME SYNC TASK " + targetsSynopsis,
		"Resumes paused or failed tasks where they stopped.", Operator, false, true,
	}
	formReset = &Form{
		"RESET SYNC TASK", "RESET SYNC TASK " + targetsSynopsis + " [ WITH ( clear_destination [ = boolean ] ) ]",
		"Begins paused or failed tasks anew. The rows of their tables are copied again; with clear_destination, what a task has made in the " +
			"destination is dropped first.",
		Operator, false, true,
	}
	formStop = &Form{
		"STOP SYNC TASK", "STOP SYNC TASK " + targetsSynopsis + " [ FORCE ]",
		"Ends tasks: applies what has arrived, sets sequences, removes slots and helper objects. FORCE waits for no unreachable " +
			"server; what remains is listed in sync_leftovers.", Operator, false, true,
	}
	formDrop = &Form{
		"DROP SYNC TASK", "DROP SYNC TASK [ IF EXISTS ] " + targetsSynopsis + " [ FORCE ]",
		"Removes tasks with their credentials and history. FORCE stops them by force first. Of a task that is gone it clears what " +
			"sync_leftovers lists.", Operator, false, true,
	}
	formClone = &Form{
		"CLONE SYNC TASK", "CLONE SYNC TASK name AS name [ WITH ( copy_passwords [ = boolean ] ) ]",
		"Makes a task with the definition of another one, in configuration. Passwords are copied only when asked.", Operator, false, true,
	}
	formWait = &Form{
		"WAIT FOR SYNC TASK", "WAIT FOR SYNC TASK name { TO REACH 'state' | CAUGHT UP | LSN 'X/Y' } [ TIMEOUT 'interval' ]",
		"Waits until a task is in a state, has no delay, or has applied everything up to a position. Reports progress as notices and " +
			"fails with 57014 when the time is over.", Monitor, false, false,
	}
	formCompare = &Form{
		"COMPARE SYNC TASK", "COMPARE SYNC TASK name { OBJECTS | ROWS | VALUES | ACCOUNTS } [ FOR ( TABLE [s.]t [, TABLE ...] ) ]\n" +
			"    [ AT 'timestamptz' | EVERY 'cron expression' [ TIME ZONE 'tz' ] [ AS schedule_name ] ] [ WITH ( option = value [, ...] ) ]",
		"Compares source and destination, now, once later, or by a schedule. Returns the run or the schedule; results are in " +
			"sync_compares and the relations named after it.", Operator, true, true,
	}
	formCancelCompare = &Form{
		"CANCEL COMPARE", "CANCEL COMPARE run_id", "Cancels a comparison that is queued or running.", Operator, false, true,
	}
	formRepair = &Form{
		"REPAIR COMPARE", "REPAIR COMPARE run_id [ DRY RUN ]",
		"Makes the differing rows a value comparison found equal in the destination; returns the statement for each and its outcome. " +
			"DRY RUN only returns the statements.", Operator, true, true,
	}
	formAlterSchedule = &Form{
		"ALTER COMPARE SCHEDULE", "ALTER COMPARE SCHEDULE name { EVERY 'cron expression' [ TIME ZONE 'tz' ] | ENABLE | DISABLE | RENAME TO name }",
		"Changes a comparison schedule.", Operator, false, true,
	}
	formDropSchedule = &Form{
		"DROP COMPARE SCHEDULE", "DROP COMPARE SCHEDULE [ IF EXISTS ] name",
		"Removes a comparison schedule; the results of its runs stay.", Operator, false, true,
	}
	formShowReport = &Form{
		"SHOW COMPARE REPORT", "SHOW COMPARE REPORT run_id", "Returns the results of a comparison as one HTML page.", Monitor, true, false,
	}
	formCreateUser = &Form{
		"CREATE SYNC USER", "CREATE SYNC USER name PASSWORD 'password' ROLE { ADMIN | OPERATOR | MONITOR }",
		"Makes a user of this server. MONITOR may read relations, SHOW and WAIT; OPERATOR may do all but users; ADMIN everything.",
		Admin, false, true,
	}
	formAlterUser = &Form{
		"ALTER SYNC USER", "ALTER SYNC USER name { PASSWORD 'password' | ROLE { ADMIN | OPERATOR | MONITOR } }",
		"Changes a user's password or role.", Admin, false, true,
	}
	formDropUser = &Form{
		"DROP SYNC USER", "DROP SYNC USER [ IF EXISTS ] name", "Removes a user.", Admin, false, true,
	}
	formShowTasks = &Form{
		"SHOW SYNC TASKS", "SHOW SYNC TASKS", "Lists all tasks with their endpoints and state.", Monitor, true, false,
	}
	formShowTask = &Form{
		"SHOW SYNC TASK", "SHOW SYNC TASK name", "Shows one task in detail.", Monitor, true, false,
	}
	formShowCreate = &Form{
		"SHOW CREATE SYNC TASK", "SHOW CREATE SYNC TASK name",
		"Shows the statement that makes the same task again, without passwords and certificates.", Monitor, true, false,
	}
	formShowObjects = &Form{
		"SHOW SYNC OBJECTS", "SHOW SYNC OBJECTS name", "Lists the objects of a task with their state.", Monitor, true, false,
	}
	formShowHelp = &Form{
		"SHOW SYNC HELP", "SHOW SYNC HELP [ 'statement' ]",
		"Lists the control statements, or those whose name contains the given words.", Monitor, true, false,
	}
	formShowDDLSetup = &Form{
		"SHOW SYNC DDL SETUP", "SHOW SYNC DDL SETUP name",
		"Returns the script a DBA runs on the source when the task's user may not install DDL capture itself.", Monitor, true, false,
	}
	// formRepairDry differs from formRepair in that it may run inside a transaction block.
	formRepairDry = &Form{formRepair.Tag, formRepair.Synopsis, formRepair.Description, formRepair.Privilege, true, false}
)

// forms lists every form in the order of the documentation.
var forms = []*Form{
	formCreateTask, formAlterTask, formTestTask, formTestConnection, formPrecheck, formExplainCreate, formExplainTask,
	formStart, formPause, formResume, formReset, formStop, formDrop, formClone, formWait,
	formCompare, formCancelCompare, formRepair, formAlterSchedule, formDropSchedule, formShowReport,
	formCreateUser, formAlterUser, formDropUser,
	formShowTasks, formShowTask, formShowCreate, formShowObjects, formShowHelp, formShowDDLSetup,
}

// Help returns the forms whose tag contains every given word, in the order of the documentation; all of them for no words.
func Help(about string) []*Form {
	words := strings.Fields(upper(about))
	var found []*Form
	for _, f := range forms {
		tag := strings.Fields(f.Tag)
		missing := func(w string) bool { return !slices.Contains(tag, w) }
		if !slices.ContainsFunc(words, missing) {
			found = append(found, f)
		}
	}
	return found
}

// matchForm returns the form whose tag the leading words spell, the longest if several, or nil.
func matchForm(words []string) *Form {
	var best *Form
	for _, f := range forms {
		tag := strings.Fields(f.Tag)
		if len(tag) <= len(words) && slices.Equal(tag, words[:len(tag)]) && (best == nil || len(f.Tag) > len(best.Tag)) {
			best = f
		}
	}
	return best
}

// likelyForms returns the forms that share most with leading words that spell none: first the verb, then the nouns.
func likelyForms(words []string) []*Form {
	var best []*Form
	top := 0
	for _, f := range forms {
		tag := strings.Fields(f.Tag)
		score := 0
		for i, w := range tag {
			switch {
			case i == 0 && len(words) > 0 && words[0] == w:
				score += 4
			case i > 0 && slices.ContainsFunc(words, func(x string) bool { return x == w || x == w+"S" }):
				score++
			}
		}
		if score > top {
			top, best = score, nil
		}
		if score == top && score > 0 {
			best = append(best, f)
		}
	}
	return best
}

// FormOf returns the form of a statement.
func FormOf(s Statement) *Form { return s.form() }

func (*CreateTask) form() *Form     { return formCreateTask }
func (*AlterTask) form() *Form      { return formAlterTask }
func (*TestTask) form() *Form       { return formTestTask }
func (*TestConnection) form() *Form { return formTestConnection }
func (*PrecheckTask) form() *Form   { return formPrecheck }
func (*ExplainCreate) form() *Form  { return formExplainCreate }
func (*ExplainTask) form() *Form    { return formExplainTask }
func (*StartTasks) form() *Form     { return formStart }
func (*PauseTasks) form() *Form     { return formPause }
func (*ResumeTasks) form() *Form    { return formResume }
func (*ResetTasks) form() *Form     { return formReset }
func (*StopTasks) form() *Form      { return formStop }
func (*DropTasks) form() *Form      { return formDrop }
func (*CloneTask) form() *Form      { return formClone }
func (*WaitTask) form() *Form       { return formWait }
func (*Compare) form() *Form        { return formCompare }
func (*CancelCompare) form() *Form  { return formCancelCompare }
func (*AlterSchedule) form() *Form  { return formAlterSchedule }
func (*DropSchedule) form() *Form   { return formDropSchedule }
func (*ShowReport) form() *Form     { return formShowReport }
func (*CreateUser) form() *Form     { return formCreateUser }
func (*AlterUser) form() *Form      { return formAlterUser }
func (*DropUser) form() *Form       { return formDropUser }
func (*ShowTasks) form() *Form      { return formShowTasks }
func (*ShowTask) form() *Form       { return formShowTask }
func (*ShowCreate) form() *Form     { return formShowCreate }
func (*ShowObjects) form() *Form    { return formShowObjects }
func (*ShowHelp) form() *Form       { return formShowHelp }
func (*ShowDDLSetup) form() *Form   { return formShowDDLSetup }

// form of REPAIR COMPARE … DRY RUN is one that changes nothing.
func (s *RepairCompare) form() *Form {
	if s.DryRun {
		return formRepairDry
	}
	return formRepair
}
