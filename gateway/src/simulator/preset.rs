//! Azure's error answers by name: status, verbatim body, headers. `azure.md` 3.5 lists their sources.
//!
//! Only text; which request meets one is decided by `fault.rs`, quotas and validation.

use std::time::Duration;

/// What an error's text depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene<'a> {
    /// Such as `ChatCompletions_Create`.
    pub(crate) operation: &'a str,
    pub(crate) api_version: &'a str,
    pub(crate) model: &'a str,
    /// Display name of the region.
    pub(crate) region: &'a str,
    /// Wait named in the text and in the headers; the preset's own when absent.
    pub(crate) retry_after: Option<Duration>,
}

/// An error ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) html: bool,
    /// Advised wait; `retry-after` and `retry-after-ms` are made of it.
    pub(crate) retry_after: Option<Duration>,
}

/// Every preset's name.
pub const PRESETS: [&str; 18] = [
    "429_tokens",
    "429_requests",
    "429_new",
    "429_day",
    "429_capacity",
    "429_ptu",
    "429_insufficient_quota",
    "400_filter",
    "401_key",
    "401_entra",
    "403_network",
    "404_deployment",
    "404_route",
    "408",
    "500",
    "overload",
    "502_html",
    "503",
];

/// The answer named `preset`; absent when there is no such preset.
pub(crate) fn refusal(preset: &str, scene: Scene<'_>) -> Option<Refusal> {
    throttled(preset, scene).or_else(|| failed(preset, scene))
}

fn throttled(preset: &str, scene: Scene<'_>) -> Option<Refusal> {
    let Scene { operation, api_version, model, region, retry_after } = scene;
    let wait = |default: u64| retry_after.unwrap_or(Duration::from_secs(default));
    let seconds = |wait: Duration| wait.as_millis().div_ceil(1000).max(1);
    let classic = |what: &str, wait: Duration| {
        let text = format!(
            "Requests to the {operation} Operation under Azure OpenAI API version {api_version} have exceeded {what} \
             rate limit of your current OpenAI S0 pricing tier. Please retry after {} seconds. Please go here: \
             https://aka.ms/oai/quotaincrease if you would like to further increase the default rate limit.",
            seconds(wait)
        );
        (wait, error("429", &text))
    };
    let recent = |wait: Duration, tail: &str| {
        let text = format!(
            "Your requests to {model} for {model} in {region} have exceeded the token rate limit for your current \
             AIServices S0 pricing tier. This request was for {operation} under Azure OpenAI API version \
             {api_version}. Please retry after {} seconds.{tail}",
            seconds(wait)
        );
        (wait, error("429", &text))
    };
    let (wait, body) = match preset {
        "429_tokens" => classic("token", wait(60)),
        "429_requests" => classic("call", wait(9)),
        "429_new" => recent(wait(45), ""),
        "429_day" => recent(
            wait(86_400),
            " Please contact Azure support service if you would like to further increase the default rate limit.",
        ),
        "429_capacity" => {
            let body = r#"{"error":{"type":"too_many_requests","code":"no_capacity","message":"The system is currently experiencing high demand and cannot process your request. Your request exceeds the maximum usage size allowed during peak load. For improved capacity reliability, consider switching to Provisioned Throughput.","param":null}}"#;
            return Some(Refusal { status: 429, body: body.to_owned(), html: false, retry_after });
        }
        // The real text is not published: status and headers are what counts.
        "429_ptu" => (
            wait(1),
            error(
                "429",
                "The provisioned deployment is at its capacity. Please retry after the time in retry-after-ms.",
            ),
        ),
        "429_insufficient_quota" => {
            let body = r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#;
            return Some(Refusal { status: 429, body: body.to_owned(), html: false, retry_after });
        }
        _ => return None,
    };
    Some(Refusal { status: 429, body, html: false, retry_after: Some(wait) })
}

fn failed(preset: &str, scene: Scene<'_>) -> Option<Refusal> {
    const OVERLOAD: &str = r#"{"error":{"message":"That model is currently overloaded with other requests. You can retry your request, or contact us through an Azure support request at: https://go.microsoft.com/fwlink/?linkid=2213926 if the error persists.","type":"server_error","param":null,"code":null}}"#;
    let (status, body) = match preset {
        "400_filter" => (400, r#"{"error":{"inner_error":{"code":"ResponsibleAIPolicyViolation","content_filter_results":{"sexual":{"filtered":true,"severity":"high"},"violence":{"filtered":false,"severity":"safe"},"hate":{"filtered":false,"severity":"safe"},"self_harm":{"filtered":false,"severity":"safe"}}},"code":"content_filter","message":"The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify your prompt and retry. To learn more about our content filtering policies please read our documentation: https://go.microsoft.com/fwlink/?linkid=2198766","param":"prompt","type":null}}"#.to_owned()),
        "401_key" => (401, error("401", "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource.")),
        "401_entra" => (401, error("PermissionDenied", "Principal does not have access to API/Operation.")),
        "403_network" => (403, error("AccessDenied", "Public access is disabled. Please configure private endpoint.")),
        "404_deployment" => (404, error("DeploymentNotFound", "The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again.")),
        "404_route" => (404, error("404", "Resource not found")),
        "408" => (408, error("Timeout", "The operation was timeout.")),
        "500" => (500, r#"{"error":{"message":"The server had an error processing your request. Sorry about that! You can retry your request, or contact us through an Azure support request at: https://go.microsoft.com/fwlink/?linkid=2213926 if the error persists.","type":"server_error","param":null,"code":"InternalServerError"}}"#.to_owned()),
        "overload" => (503, OVERLOAD.to_owned()),
        "502_html" => (502, "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>Microsoft-Azure-Application-Gateway/v2</center>\r\n</body>\r\n</html>\r\n".to_owned()),
        "503" => (503, error("ServiceUnavailable", "The service is temporarily unable to process your request. Please try again later.")),
        _ => return None,
    };
    Some(Refusal { status, body, html: preset == "502_html", retry_after: scene.retry_after })
}

/// The `data:` event of an error inside a 200 stream; absent when there is no such preset.
pub(crate) fn stream_error(preset: &str) -> Option<&'static str> {
    Some(match preset {
        "no_capacity" | "429_capacity" => {
            "data: {\"type\":\"error\",\"error\":{\"type\":\"too_many_requests\",\"code\":\"no_capacity\",\"headers\":{\"skip-error-remapping\":\"true\"},\"message\":\"The system is currently experiencing high demand and cannot process your request.\",\"param\":null}}\n\n"
        }
        "server_error" | "500" => {
            "data: {\"error\":{\"message\":\"The server had an error processing your request. Sorry about that! You can retry your request, or contact us through an Azure support request at: https://go.microsoft.com/fwlink/?linkid=2213926 if the error persists.\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n"
        }
        "overload" => {
            "data: {\"error\":{\"message\":\"That model is currently overloaded with other requests. You can retry your request, or contact us through an Azure support request at: https://go.microsoft.com/fwlink/?linkid=2213926 if the error persists.\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n"
        }
        "user_error" | "400_filter" => {
            "data: {\"type\":\"error\",\"error\":{\"type\":\"user_error\",\"code\":\"content_filter\",\"message\":\"The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify your prompt and retry.\",\"param\":\"prompt\"}}\n\n"
        }
        "event_error" => {
            "event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"The server had an error processing your request.\",\"param\":null,\"sequence_number\":0}\n\n"
        }
        _ => return None,
    })
}

/// The two-field envelope.
pub(crate) fn error(code: &str, message: &str) -> String {
    format!(r#"{{"error":{{"code":"{code}","message":"{message}"}}}}"#)
}

/// The v1 envelope of a client's mistake.
pub(crate) fn invalid_request(message: &str, param: Option<&str>, code: Option<&str>) -> String {
    serde_json::json!({"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}})
        .to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;

    fn scene(retry_after: Option<Duration>) -> Scene<'static> {
        let (operation, api_version) = ("ChatCompletions_Create", "2024-10-21");
        Scene { operation, api_version, model: "gpt-4o", region: "Sweden Central", retry_after }
    }

    #[test]
    fn every_preset_has_its_status_and_a_body_that_parses() {
        for name in PRESETS {
            let refusal = refusal(name, scene(None)).unwrap();
            if name.as_bytes().first().is_some_and(u8::is_ascii_digit) {
                assert_eq!(name.get(..3), Some(refusal.status.to_string().as_str()));
            }
            assert_eq!(refusal.html, serde_json::from_str::<serde_json::Value>(&refusal.body).is_err(), "{name}");
        }
        assert_eq!(refusal("418", scene(None)), None);
    }

    #[test]
    fn the_text_names_the_wait() {
        let refusal = refusal("429_tokens", scene(Some(Duration::from_millis(2500)))).unwrap();
        assert!(refusal.body.contains("Please retry after 3 seconds."), "{}", refusal.body);
    }

    #[test]
    fn stream_errors_are_events() {
        for name in ["no_capacity", "server_error", "overload", "user_error", "event_error"] {
            let event = stream_error(name).unwrap();
            let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
            assert!(serde_json::from_str::<serde_json::Value>(data).is_ok() && event.ends_with("\n\n"));
        }
    }
}
