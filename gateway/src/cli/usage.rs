//! `tidegate usage`: who has used what of which limit, and what it cost, as a running gateway tells it. Reads one page; changes nothing.

use super::arguments::{Format, Usage, parse_admin};
use super::{Failure, failed, invalid, print};
use crate::demo::http::Client;
use serde::Deserialize;
use std::fmt::Write;

/// Billionths in one.
const BILLION: u64 = 1_000_000_000;

/// The admin listener's page, as far as it is printed.
#[derive(Deserialize)]
struct Page {
    limits: Vec<Limit>,
    spent: Vec<Spent>,
}

#[derive(Deserialize)]
struct Limit {
    limit: String,
    /// Absent where nobody knows the values of its chain.
    used: Option<Vec<Used>>,
}

#[derive(Deserialize)]
struct Used {
    of: Option<String>,
    measure: String,
    max: u64,
    remaining: u64,
    reset_seconds: f64,
}

#[derive(Deserialize)]
struct Spent {
    consumer: Option<String>,
    model: String,
    region: String,
    currency: String,
    billionths: u64,
}

/// Asks and prints.
pub(super) fn usage(options: &Usage) -> Result<(), Failure> {
    let admin = &options.admin;
    let address = parse_admin(admin).map_err(|shape| invalid(format!("tidegate: --admin {admin}: {shape}")))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let body = runtime.block_on(Client::new(&address).get("/usage"));
    let body = body.map_err(|error| failed(format!("cannot read the usage from http://{address}: {error}")))?;
    let page: Page = serde_json::from_slice(&body)
        .map_err(|error| failed(format!("http://{address}/usage is not a gateway's: {error}")))?;
    match options.format {
        Format::Json => print(&String::from_utf8_lossy(&body)),
        Format::Text => print(&text(&page)),
    }
    Ok(())
}

/// The page as people read it.
fn text(page: &Page) -> String {
    let mut rows = vec![["limit", "of", "measure", "used", "max", "all back in"].map(str::to_owned)];
    for limit in &page.limits {
        match &limit.used {
            None => rows.push(said(limit, "(values are not listed)")),
            Some(used) if used.is_empty() => rows.push(said(limit, "(nobody)")),
            Some(used) => rows.extend(used.iter().map(|one| row(limit, one))),
        }
    }
    let mut out = String::new();
    table(&rows, &mut out);
    if page.limits.is_empty() {
        out = "no usage limits\n".to_owned();
    }
    if !page.spent.is_empty() {
        let mut rows = vec![["consumer", "model", "region", "cost"].map(str::to_owned)];
        rows.extend(page.spent.iter().map(|one| {
            let consumer = one.consumer.clone().unwrap_or_else(|| "(none)".to_owned());
            let (whole, rest) = (one.billionths / BILLION, one.billionths % BILLION);
            [consumer, one.model.clone(), one.region.clone(), format!("{whole}.{rest:09} {}", one.currency)]
        }));
        out.push('\n');
        table(&rows, &mut out);
    }
    out
}

/// A limit of which there is but one thing to say.
fn said(limit: &Limit, what: &str) -> [String; 6] {
    let [name, of] = [limit.limit.as_str(), what];
    [name, of, "", "", "", ""].map(str::to_owned)
}

fn row(limit: &Limit, one: &Used) -> [String; 6] {
    [
        limit.limit.clone(),
        one.of.clone().unwrap_or_else(|| "(all)".to_owned()),
        one.measure.clone(),
        one.max.saturating_sub(one.remaining).to_string(),
        one.max.to_string(),
        format!("{:.0}s", one.reset_seconds.ceil()),
    ]
}

/// Columns as wide as their widest cell, two spaces apart.
fn table<const N: usize>(rows: &[[String; N]], out: &mut String) {
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
            // Writing to a string cannot fail.
            let _ = write!(line, "{cell:0$}  ", width.unwrap_or(0));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn printed(json: &str) -> String {
        text(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn people_get_two_tables() {
        let page = r#"{"generation":1,"limits":[
            {"limit":"team","by":["consumer"],"used":[{"of":"search","measure":"tokens","max":100,"remaining":40,"owed":0,"reset_seconds":11.2}]},
            {"limit":"tenant","used":null},{"limit":"idle","used":[]}],
            "spent":[{"consumer":null,"model":"gpt-4o*","region":"swedencentral","currency":"USD","billionths":1002500000}]}"#;
        let want = "\
limit   of                       measure  used  max  all back in
team    search                   tokens   60    100  12s
tenant  (values are not listed)
idle    (nobody)

consumer  model    region         cost
(none)    gpt-4o*  swedencentral  1.002500000 USD
";
        assert_eq!(printed(page), want);
        assert_eq!(printed(r#"{"limits":[],"spent":[]}"#), "no usage limits\n");
    }
}
