//! Compiles one condition of a rule: the variable, the operator that fits it, values that can ever match, and a database
//! where one is needed.

use crate::config::compile::waf::{Told, needs_database};
use crate::config::file::{self, Operator};
use crate::config::report::{Report, suggestion};
use crate::policy::rules::condition::{Condition, Number, Test, Variable};
use crate::policy::screen::matching::{self, Matcher};
use crate::policy::screen::transform::Transform;
use http::HeaderName;

/// Longest value of a condition, in characters: Front Door's.
const VALUE_LENGTH_MAX: usize = 256;

/// What a variable is, and with that how it can be compared.
enum Kind {
    Text,
    /// One of these words, or none.
    Words(&'static [&'static str]),
    Number,
    Address,
}

/// Compiles a condition; `None` after a problem.
pub(super) fn compile(
    typed: &file::Condition,
    databases: Option<&file::Databases>,
    path: &str,
    report: &mut Report<'_>,
) -> Option<Condition> {
    if ["variable", "operator"].iter().any(|key| report.is_replaced(&format!("{path}.{key}"))) {
        return None; // nothing that follows from a stand-in is the operator's problem
    }
    let variable = variable(typed, path, report);
    let kind = kind(typed.variable);
    fits(typed, &kind, path, report)?;
    needs_database(place(typed.operator), databases, &format!("{path}.operator"), report);
    for (index, value) in typed.values.iter().enumerate() {
        let path = format!("{path}.values[{index}]");
        let length = value.chars().count();
        if length > VALUE_LENGTH_MAX {
            report.problem(&path, format!("has {length} characters, at most {VALUE_LENGTH_MAX} are allowed"), None);
            return None;
        }
        if let Kind::Words(words) = &kind
            && !words.contains(&value.as_str())
        {
            let help = suggestion(value, words.iter().copied(), "It is one of");
            report.problem(&path, format!("`{value}` never is the value of this variable"), help);
            return None;
        }
    }
    let test = match kind {
        Kind::Number => Test::Number(number(typed, path, report)?),
        _ => Test::Matcher(matcher(typed, path, report)?),
    };
    Some(Condition { variable: variable?, test })
}

fn kind(variable: file::Variable) -> Kind {
    use file::Variable as V;
    match variable {
        V::HttpVersion => Kind::Words(&["1.0", "1.1", "2"]),
        V::Scheme => Kind::Words(&["http", "https"]),
        V::TlsVersion => Kind::Words(&["1.2", "1.3"]),
        V::DeviceType => Kind::Words(&["mobile", "desktop"]),
        V::ClientAddress | V::SocketAddress => Kind::Address,
        V::ServerPort | V::BodySize => Kind::Number,
        _ => Kind::Text,
    }
}

/// The operator fits the variable.
fn fits(typed: &file::Condition, kind: &Kind, path: &str, report: &mut Report<'_>) -> Option<()> {
    use Operator as O;
    let path = format!("{path}.operator");
    let numeric = matches!(typed.operator, O::LessThan | O::LessThanOrEqual | O::GreaterThan | O::GreaterThanOrEqual);
    let (fits, what, help) = match kind {
        Kind::Text => (
            !matches!(typed.operator, O::IpMatch | O::CountryMatch | O::AsnMatch),
            "text",
            "`ip_match`, `geo_match` and `asn_match` are for `client_address` and `socket_address`",
        ),
        Kind::Words(_) => (matches!(typed.operator, O::Any | O::Equal), "one of a few words", "use `equal` or `any`"),
        Kind::Number => (
            numeric || matches!(typed.operator, O::Any | O::Equal),
            "a number",
            "use `equal`, `less_than`, `less_than_or_equal`, `greater_than`, `greater_than_or_equal` or `any`",
        ),
        Kind::Address => (
            matches!(typed.operator, O::Any | O::IpMatch | O::CountryMatch | O::AsnMatch),
            "an address",
            "use `ip_match`, `geo_match`, `asn_match` or `any`",
        ),
    };
    if !fits {
        report.problem(&path, format!("does not fit: this variable is {what}"), help.to_owned());
        return None;
    }
    if !typed.transforms.is_empty() && !matches!(kind, Kind::Text) {
        let path = path.replace(".operator", ".transforms");
        report.problem(&path, "this variable has nothing to transform", "remove `transforms`".to_owned());
        return None;
    }
    Some(())
}

/// What a database must tell for the operator.
const fn place(operator: Operator) -> Option<Told> {
    match operator {
        Operator::CountryMatch => Some(Told::Country),
        Operator::AsnMatch => Some(Told::System),
        _ => None,
    }
}

fn variable(typed: &file::Condition, path: &str, report: &mut Report<'_>) -> Option<Variable> {
    use file::Variable as V;
    let named = matches!(typed.variable, V::QueryArgument | V::RequestHeader | V::Cookie);
    match (&typed.name, named) {
        (None, true) => {
            report.problem(path, "`name` is missing", "this variable has several: say which one".to_owned());
            return None;
        }
        (Some(_), false) => {
            let help = "`name` is for `query_argument`, `request_header` and `cookie`".to_owned();
            report.problem(&format!("{path}.name"), "this variable has no name", help);
            return None;
        }
        _ => {}
    }
    let name = typed.name.clone().unwrap_or_default();
    Some(match typed.variable {
        V::Method => Variable::Method,
        V::HttpVersion => Variable::HttpVersion,
        V::Scheme => Variable::Scheme,
        V::Host => Variable::Host,
        V::Path => Variable::Path,
        V::FileName => Variable::FileName,
        V::FileExtension => Variable::FileExtension,
        V::Url => Variable::Url,
        V::QueryString => Variable::QueryString,
        V::QueryArgument => Variable::QueryArgument(name),
        V::RequestHeader => match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) => Variable::RequestHeader(name),
            Err(_) => {
                report.problem(&format!("{path}.name"), format!("`{name}` is not a header name"), None);
                return None;
            }
        },
        V::Cookie => Variable::Cookie(name),
        V::TlsVersion => Variable::TlsVersion,
        V::DeviceType => Variable::DeviceType,
        V::ClientAddress => Variable::ClientAddress,
        V::SocketAddress => Variable::SocketAddress,
        V::ServerPort => Variable::ServerPort,
        V::BodySize => Variable::BodySize,
    })
}

fn number(typed: &file::Condition, path: &str, report: &mut Report<'_>) -> Option<Number> {
    if typed.operator == Operator::Any {
        if !typed.values.is_empty() {
            report.problem(path, "`any` takes no values", None);
        }
        return Some(Number { ranges: vec![(0, u64::MAX)], negate: typed.negate });
    }
    if typed.values.is_empty() {
        report.problem(path, "needs at least one value", None);
        return None;
    }
    let mut ranges = Vec::with_capacity(typed.values.len());
    for (index, value) in typed.values.iter().enumerate() {
        let Ok(number) = value.parse::<u64>() else {
            report.problem(&format!("{path}.values[{index}]"), format!("`{value}` is no whole number"), None);
            continue;
        };
        ranges.extend(match typed.operator {
            Operator::LessThan => number.checked_sub(1).map(|high| (0, high)),
            Operator::LessThanOrEqual => Some((0, number)),
            Operator::GreaterThan => number.checked_add(1).map(|low| (low, u64::MAX)),
            Operator::GreaterThanOrEqual => Some((number, u64::MAX)),
            _ => Some((number, number)),
        });
    }
    Some(Number { ranges, negate: typed.negate })
}

fn matcher(typed: &file::Condition, path: &str, report: &mut Report<'_>) -> Option<Matcher> {
    let operator = match typed.operator {
        Operator::Any => matching::Operator::Any,
        Operator::Equal => matching::Operator::Equal,
        Operator::Contains => matching::Operator::Contains,
        Operator::BeginsWith => matching::Operator::BeginsWith,
        Operator::EndsWith => matching::Operator::EndsWith,
        Operator::LessThan => matching::Operator::LessThan,
        Operator::LessThanOrEqual => matching::Operator::LessThanOrEqual,
        Operator::GreaterThan => matching::Operator::GreaterThan,
        Operator::GreaterThanOrEqual => matching::Operator::GreaterThanOrEqual,
        Operator::Regex => matching::Operator::RegEx,
        Operator::IpMatch => matching::Operator::IpMatch,
        Operator::CountryMatch => matching::Operator::CountryMatch,
        Operator::AsnMatch => matching::Operator::AsnMatch,
    };
    let transforms: Vec<Transform> = typed.transforms.iter().map(|one| transform(*one)).collect();
    // Hosts are compared in lower case.
    let lower = typed.variable == file::Variable::Host && typed.operator != Operator::Regex && transforms.is_empty();
    let values: Vec<String> =
        typed.values.iter().map(|value| if lower { value.to_ascii_lowercase() } else { value.clone() }).collect();
    match Matcher::new(operator, &values, &transforms, typed.negate) {
        Ok(matcher) => Some(matcher),
        Err(bad) => {
            let path = bad.index.map_or_else(|| path.to_owned(), |index| format!("{path}.values[{index}]"));
            report.problem(&path, bad.what, bad.help);
            None
        }
    }
}

const fn transform(typed: file::Transform) -> Transform {
    match typed {
        file::Transform::Lowercase => Transform::Lowercase,
        file::Transform::Uppercase => Transform::Uppercase,
        file::Transform::Trim => Transform::Trim,
        file::Transform::RemoveNulls => Transform::RemoveNulls,
        file::Transform::UrlEncode => Transform::UrlEncode,
        file::Transform::UrlDecode => Transform::UrlDecode,
    }
}
