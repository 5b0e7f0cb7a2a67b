//! How a command fails: one line of what and why, one of what to do, and an exit code.

use std::fmt::Display;
use std::process::ExitCode;

use hubward_model::Problem;

/// Exit code of a command that could not do its work.
pub const FAILED: u8 = 1;
/// Exit code of a command that was written wrong.
pub const WRONG_USAGE: u8 = 2;

/// The end of a command that did not do what it was asked.
#[derive(Debug)]
pub struct Failure {
    /// What to tell; nothing if the command has told it already (a failed test message in a list, for example).
    pub problem: Option<Box<Problem>>,
    /// The exit code.
    pub code: u8,
}

impl Failure {
    /// The work could not be done.
    pub fn new(code: &str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Problem::new(code, message, remedy).into()
    }

    /// The command line was wrong.
    pub fn usage(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { problem: Some(Box::new(Problem::new("wrong_usage", message, remedy))), code: WRONG_USAGE }
    }

    /// Everything has been said; only the exit code is left.
    #[must_use]
    pub fn said() -> Self {
        Self { problem: None, code: FAILED }
    }

    /// Something that should not fail did (a closed output, a runtime that does not start).
    pub fn unexpected(doing: &str, error: impl Display) -> Self {
        Self::new("internal", format!("{doing} failed: {error}"), "try again; if it stays, report it with this line")
    }

    /// Prints it on standard error, as two lines or as JSON, and gives the exit code.
    #[must_use]
    pub fn report(&self, json: bool) -> ExitCode {
        if let Some(problem) = &self.problem {
            eprint!("{}", render(problem, json));
        }
        ExitCode::from(self.code)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self { problem: Some(Box::new(problem)), code: FAILED }
    }
}

/// The text of a problem: two lines, or `{"code","message","remedy","field"}`.
#[must_use]
pub fn render(problem: &Problem, json: bool) -> String {
    if json {
        return format!("{}\n", serde_json::json!(problem));
    }
    let mut text = format!("error: {}\n", one_line(&problem.message));
    if !problem.remedy.is_empty() {
        text.push_str(&format!("to do: {}\n", one_line(&problem.remedy)));
    }
    text
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_two_lines_whatever_its_text_holds() {
        let problem = Problem::new("x", "the port\n1883 is taken", "choose another\nwith --mqtt");
        assert_eq!(render(&problem, false), "error: the port 1883 is taken\nto do: choose another with --mqtt\n");
    }

    #[test]
    fn as_json_a_problem_has_all_four_fields() {
        let problem = Problem::new("name_taken", "m", "r").with_field("name");
        assert_eq!(
            render(&problem, true),
            "{\"code\":\"name_taken\",\"message\":\"m\",\"remedy\":\"r\",\"field\":\"name\"}\n"
        );
    }
}
