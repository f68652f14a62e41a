//! TG-16xx: commands, templates, look-ups, deserialisation. TG-17xx: requests that a server is made to send.

use super::super::rule::{Group, Rule, Targets, Test};
use crate::policy::screen::finding::Severity;

const fn rule(id: &'static str, group: Group, targets: Targets, finds: &'static str, test: Test) -> Rule {
    Rule { id, group, severity: Severity::Critical, finds, targets, test }
}

pub(super) const RULES: &[Rule] = &[
    rule(
        "TG-1601",
        Group::Command,
        Targets::ARGUMENTS.and(Targets::PATH),
        "a command of a shell",
        Test::Pattern(
            &[";", "|", "&", "`", "\n", "$(", "<(", ">("],
            r"(?x)
              (?: [;|&`\n] | [$<>]\( )\s*
              (?: [\w./-]{0,40}/ )?
              (?: cat | ls | id | pwd | whoami | uname | wget | curl | fetch | nc | ncat | netcat | bash | sh | zsh | dash
                | ksh | python[23]? | perl | ruby | php | node | ping | nslookup | dig | ifconfig | ip | netstat | ps | env
                | printenv | echo | printf | chmod | chown | rm | mv | cp | tee | base64 | xxd | awk | sed | grep | find
                | kill | sleep | telnet | ssh | scp | tftp | ftp | hostname | mkfifo | crontab | sudo | su | type | dir | set )
              (?: \s | [;|&`)<>\x27\x22] | \$ | $ )",
        ),
    ),
    rule(
        "TG-1602",
        Group::Command,
        Targets::ALL,
        "a function definition for a shell",
        Test::Pattern(&["()"], r"\(\)\s*\{"),
    ),
    rule(
        "TG-1603",
        Group::Command,
        Targets::ALL,
        "a look-up that loads code",
        Test::Pattern(
            &["${"],
            r"(?i)\$\{\s*(?:jndi|(?:lower|upper|env|sys|java|date|ctx|main|k8s|docker|base64|script|dns|url|bundle)\s*:|[^}]{0,80}:-[^}]{0,40}\}|[^}]{0,40}\$\{)",
        ),
    ),
    rule(
        "TG-1604",
        Group::Command,
        Targets::ARGUMENTS.and(Targets::PATH).and(Targets::USER_AGENT).and(Targets::REFERER),
        "an expression for a template",
        Test::Pattern(
            &["{{", "${", "#{", "<%", "{%", "%{", "*{"],
            r"(?i)\{\{.{0,200}?(?:[*+]|\(|\[|__|\.|\|)|[$#*%]\{\s*(?:[0-9]+\s*[*+-]\s*[0-9]+|[^}]{0,100}[(@])|<%=?\s*\S|\{%\s*\w",
        ),
    ),
    rule(
        "TG-1605",
        Group::Command,
        Targets::FREE.and(Targets::PATH),
        "code or a stream of PHP",
        Test::Words(&[
            "<?php",
            "<?=",
            "php://",
            "phar://",
            "zip://",
            "compress.zlib://",
            "expect://",
            "glob://",
            "data://text",
            "allow_url_include",
            "auto_prepend_file",
            "base64_decode(",
            "shell_exec(",
            "passthru(",
            "proc_open(",
            "invokefunction",
        ]),
    ),
    rule(
        "TG-1606",
        Group::Command,
        Targets::ALL,
        "code or an object of Java",
        Test::Words(&[
            "class.module.classloader",
            "java.lang.runtime",
            "java.lang.processbuilder",
            "java.lang.system",
            "getruntime(",
            "javax.script",
            "javax.naming",
            "t(java.lang",
            "ognl.",
            "#_memberaccess",
            "@java.lang",
            "com.opensymphony",
            "org.apache.commons.collections",
            "com.sun.rowset",
            "ro0abx",
            "aced0005",
            "freemarker.template",
        ]),
    ),
    rule(
        "TG-1607",
        Group::Command,
        Targets::ARGUMENTS,
        "code or a prototype of JavaScript",
        Test::Words(&[
            "__proto__",
            "constructor[prototype]",
            "constructor.prototype",
            "child_process",
            "process.binding",
            "process.mainmodule",
            "global.process",
            "_$$nd_func$$_",
            "require('",
            "require(\"",
        ]),
    ),
    rule(
        "TG-1608",
        Group::Command,
        Targets::ARGUMENTS.and(Targets::PATH),
        "a command of Windows",
        Test::Pattern(
            &["cmd", "powershell", "certutil", "bitsadmin", "regsvr32", "mshta", "rundll32", "wscript"],
            r"(?i)\bcmd(?:\.exe)?\s*/[ckr]\b|\bpowershell(?:\.exe)?\s+[-/(]|\b(?:certutil|bitsadmin|regsvr32|mshta|rundll32|wscript)(?:\.exe)?\s",
        ),
    ),
    rule(
        "TG-1609",
        Group::Command,
        Targets::ARGUMENTS,
        "an entity of XML",
        Test::Words(&["<!entity", "<!doctype", "<!element", "<![cdata[", "xinclude"]),
    ),
    rule(
        "TG-1701",
        Group::Ssrf,
        Targets::ALL,
        "the address of a cloud's metadata",
        Test::Words(&[
            "169.254.169.254",
            "169.254.170.2",
            "metadata.google.internal",
            "100.100.100.200",
            "168.63.129.16",
            "fd00:ec2::254",
            "::ffff:a9fe:a9fe",
            "0xa9fea9fe",
            "2852039166",
            "/latest/meta-data",
            "/metadata/identity",
            "/metadata/instance",
            "/computemetadata/",
        ]),
    ),
    rule(
        "TG-1702",
        Group::Ssrf,
        Targets::FREE.and(Targets::HEADER_VALUE),
        "a URL of a scheme that only attacks use",
        Test::Words(&[
            "gopher://",
            "dict://",
            "file:///",
            "ldap://",
            "ldaps://",
            "tftp://",
            "jar:http",
            "netdoc:",
            "sftp://",
            "rmi://",
            "ws://127.",
            "interact.sh",
            "oast.fun",
            "oast.pro",
            "oastify.com",
            "burpcollaborator",
            "dnslog.cn",
            ".ngrok.io",
        ]),
    ),
    Rule {
        id: "TG-1703",
        group: Group::Ssrf,
        severity: Severity::Warning,
        finds: "a URL of this host or a private network",
        targets: Targets::QUERY_VALUE,
        test: Test::Pattern(
            &["://", "//1", "//0", "//l", "//["],
            r"(?i)//(?:[^/@\s]*@)?(?:localhost|127\.|0\.0\.0\.0|0x7f|017700000001|2130706433|10\.[0-9]|192\.168\.|172\.(?:1[6-9]|2[0-9]|3[01])\.|169\.254\.|\[(?:::1?|::ffff:|f[cd]|fe80)|[0-9]{8,10}(?:[/:]|$))",
        ),
    },
];
