use std::fmt;

/// What was done and what came out of it.
#[derive(Debug, Default)]
pub struct Report {
    host: String,
    /// What had to go well.
    pub steps: Vec<Step>,
    /// What the hub answered where the wire reference says UNCONFIRMED.
    pub answers: Vec<Answer>,
}

/// Something that had to go well.
#[derive(Debug)]
pub struct Step {
    /// What.
    pub what: String,
    /// Whether it did.
    pub ok: bool,
    /// What was seen.
    pub seen: String,
}

/// An answer of the hub.
#[derive(Debug)]
pub struct Answer {
    /// Section of the IoT Hub wire reference that leaves it open.
    pub section: &'static str,
    /// What was asked.
    pub question: String,
    /// What the hub did.
    pub seen: String,
}

impl Report {
    pub(super) fn new(host: &str) -> Self {
        Self { host: host.to_owned(), ..Self::default() }
    }

    pub(super) fn step(&mut self, what: &str, ok: bool, seen: &str) {
        eprintln!("{} {what}: {seen}", if ok { "ok  " } else { "FAIL" });
        self.steps.push(Step { what: what.to_owned(), ok, seen: seen.to_owned() });
    }

    pub(super) fn answer(&mut self, section: &'static str, question: &str, seen: impl fmt::Display) {
        let seen = seen.to_string();
        eprintln!("     {section} {question}: {seen}");
        self.answers.push(Answer { section, question: question.to_owned(), seen });
    }

    /// Whether all went well.
    pub fn is_good(&self) -> bool {
        self.steps.iter().all(|step| step.ok)
    }

    /// What the hub answered to this question.
    pub fn seen(&self, question: &str) -> Option<&str> {
        self.answers.iter().find(|answer| answer.question == question).map(|answer| answer.seen.as_str())
    }
}

/// As Markdown.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
        writeln!(f, "# Hubward at {}\n\n| step | | seen |\n|---|---|---|", self.host)?;
        for Step { what, ok, seen } in &self.steps {
            writeln!(f, "| {what} | {} | {} |", if *ok { "ok" } else { "**failed**" }, cell(seen))?;
        }
        writeln!(f, "\n## What the documents leave open\n\n| section | question | this hub |\n|---|---|---|")?;
        for Answer { section, question, seen } in &self.answers {
            writeln!(f, "| {section} | {question} | {} |", cell(seen))?;
        }
        writeln!(
            f,
            "\nNot asked, because it needs more messages or other rights than a free hub gives: conditions of throttling and quota, \
             256 KB inside a batch of 1 MiB, metering of batches, the caps on devices and on properties, the number of readers \
             of a partition, methods that nobody answers."
        )
    }
}
