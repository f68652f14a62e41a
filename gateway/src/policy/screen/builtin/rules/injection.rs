//! TG-14xx: SQL and other queries. TG-15xx: script in pages.

use super::super::injection::{is_script, is_sql};
use super::super::rule::{Group, Rule, Targets, Test};
use crate::policy::screen::finding::Severity;

const fn rule(id: &'static str, group: Group, targets: Targets, finds: &'static str, test: Test) -> Rule {
    Rule { id, group, severity: Severity::Critical, finds, targets, test }
}

pub(super) const RULES: &[Rule] = &[
    rule("TG-1401", Group::Sql, Targets::FREE, "SQL behind a value (libinjection)", Test::Detect(is_sql)),
    rule(
        "TG-1402",
        Group::Sql,
        Targets::FREE.and(Targets::PATH),
        "a statement or function of SQL",
        Test::Pattern(
            &[
                "union",
                "sleep",
                "benchmark",
                "waitfor",
                "xp_cmdshell",
                "information_schema",
                "outfile",
                "dumpfile",
                "load_file",
                "dbms_",
                "utl_http",
                "utl_inaddr",
                "sysobjects",
                "sqlite_master",
                "extractvalue",
                "updatexml",
                "@@version",
                "drop",
                "truncate",
                "delete",
                "insert",
                "exec",
                "pg_catalog",
                "or ",
                "and ",
            ],
            r"(?ix)
              \bunion\b (?: \s | /\*.*?\*/ | \( | all\b | distinct\b )+ select\b
              | \b(?: sleep | pg_sleep | benchmark )\s*\(\s*['\x22(]?\s*[0-9-]
              | \bwaitfor\s+(?: delay | time )\s*['\x22@]
              | \bxp_cmdshell\b | \binformation_schema\b | \bsqlite_master\b | \bpg_catalog\b | \bsysobjects\b
              | \binto\s+(?: outfile | dumpfile )\b | \bload_file\s*\( | @@version\b
              | \bdbms_(?: pipe | lock | ldap | utility | xmlgen | sql )\b | \butl_(?: http | inaddr )\b
              | \b(?: extractvalue | updatexml )\s*\(
              | \b(?: or | and )\s+(?: [0-9]+\s*=\s*[0-9] | '[^']{0,20}'\s*=\s*' | \x22[^\x22]{0,20}\x22\s*=\s*\x22 )
              | [;'\x22)]\s*(?: drop\s+(?: table | database | view | schema | user )
                | truncate\s+table | delete\s+from | insert\s+into | exec(?: ute )?\s+(?: sp_ | xp_ | master ) )\b",
        ),
    ),
    rule(
        "TG-1403",
        Group::Sql,
        Targets::ARGUMENTS,
        "an operator of a document database",
        Test::Pattern(
            &["$ne", "$eq", "$gt", "$lt", "$in", "$nin", "$regex", "$where", "$exists", "$or", "$and", "$not"],
            r"(?i)(?:\[\s*|\{\s*['\x22]?)\$(?:ne|eq|gte?|lte?|n?in|regex|where|exists|n?or|and|not)\b",
        ),
    ),
    rule(
        "TG-1404",
        Group::Sql,
        Targets::ARGUMENTS,
        "a filter of a directory",
        Test::Words(&["*)(", ")(|(", ")(&(", ")(!(", "*)|("]),
    ),
    rule("TG-1501", Group::Script, Targets::FREE, "script behind a value (libinjection)", Test::Detect(is_script)),
    rule(
        "TG-1502",
        Group::Script,
        Targets::ALL,
        "script in a page",
        Test::Pattern(
            &[
                "<script",
                "</script",
                "<iframe",
                "<object",
                "<embed",
                "<svg",
                "<img",
                "<body",
                "<meta",
                "<base",
                "<link",
                "<form",
                "<math",
                "<video",
                "<audio",
                "<details",
                "<input",
                "<style",
                "script:",
                "onerror",
                "onload",
                "onclick",
                "onmouse",
                "onfocus",
                "onblur",
                "ontoggle",
                "onpointer",
                "onanimation",
                "onbegin",
                "srcdoc",
                "document.",
                "fromcharcode",
                "data:text/html",
                "window.location",
                "string.raw",
                "&#x",
            ],
            r"(?ix)
              </?(?: script | iframe | object | embed | applet | meta | base | math )\b
              | <(?: svg | img | body | link | form | video | audio | details | input | style )[\s/][^>]*(?: \bon[a-z]{3,20}\s*= | src | href | style )
              | [\s\x22'/<;]on(?: error | load[a-z]* | click | mouse[a-z]+ | focus[a-z]* | blur | toggle | pointer[a-z]+ | animation[a-z]+ | begin )\s*=
              | \b(?: java | vb | live )\s*script\s*: \s*[^\s]
              | \bdocument\s*\.\s*(?: cookie | write(?: ln )? | domain | location )\b | \bwindow\.location\b
              | \bfromcharcode\s*\( | \bstring\.raw\s*` | data:text/html | \bsrcdoc\s*= | &\#x0*(?: 3c | 6a )\b",
        ),
    ),
];
