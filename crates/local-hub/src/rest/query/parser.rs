//! A query's text understood.
//!
//! ```text
//! query      = SELECT [TOP n] ("*" | column {"," column}) FROM devices [WHERE or] [GROUP BY path {"," path}] [";"]
//! column     = (path | aggregate "(" [path] ")") [[AS] name]
//! or         = and {OR and}          and = not {AND not}          not = NOT not | comparison
//! comparison = operand [("=" | "!=" | "<>" | "<" | "<=" | ">" | ">=") operand | [NOT] IN list | NIN list]
//! operand    = literal | function "(" or {"," or} ")" | path | "(" or ")"
//! path       = name {"." name | "[" text "]"}, with or without "devices." before it
//! ```

use serde_json::Value;

use super::lexer::{Token, tokens};
use super::syntax::{Aggregate, Column, Comparison, Expression, Function, Path, Query, Select, Selected, SyntaxError};

/// How deep conditions may be nested.
const MAX_DEPTH: usize = 50;

/// Reads a query.
pub(super) fn parse(text: &str) -> Result<Query, SyntaxError> {
    let tokens = tokens(text)?;
    let end = text.chars().count() + 1;
    Parser { tokens, place: 0, end, depth: 0 }.query()
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    place: usize,
    /// Where the text ends.
    end: usize,
    depth: usize,
}

impl Parser {
    fn query(mut self) -> Result<Query, SyntaxError> {
        self.expect_word("select")?;
        let top = match self.take_word("top") {
            false => None,
            true => Some(self.count()?),
        };
        let select = if self.take_sign("*") { Select::All } else { Select::Columns(self.columns()?) };
        self.expect_word("from")?;
        self.source()?;
        let condition = if self.take_word("where") { Some(self.or()?) } else { None };
        let mut group_by = Vec::new();
        if self.take_word("group") {
            self.expect_word("by")?;
            group_by.push(self.path()?);
            while self.take_sign(",") {
                group_by.push(self.path()?);
            }
        }
        self.take_sign(";");
        if self.place < self.tokens.len() {
            return Err(self.unexpected("the end of the query"));
        }
        self.check_groups(&select, &group_by)?;
        Ok(Query { top, select, condition, group_by })
    }

    /// Beside aggregates stand only columns that are grouped by.
    fn check_groups(&self, select: &Select, group_by: &[Path]) -> Result<(), SyntaxError> {
        let wrong = |why: &str| Err(SyntaxError::new(1, why));
        match select {
            Select::All if !group_by.is_empty() => wrong("SELECT * cannot be grouped"),
            Select::All => Ok(()),
            Select::Columns(columns) => {
                let aggregates = columns.iter().any(|column| matches!(column.what, Selected::Aggregate(..)));
                if !aggregates && group_by.is_empty() {
                    return Ok(());
                }
                let grouped = |column: &Column| match &column.what {
                    Selected::Path(path) => group_by.contains(path),
                    Selected::Aggregate(..) => true,
                };
                if columns.iter().all(grouped) {
                    Ok(())
                } else {
                    wrong("beside aggregates only columns of GROUP BY can be selected")
                }
            }
        }
    }

    fn source(&mut self) -> Result<(), SyntaxError> {
        let at = self.at();
        self.expect_word("devices")?;
        if self.take_sign(".") {
            let Some(Token::Word(what)) = self.next() else { return Err(self.unexpected("modules or jobs")) };
            return Err(SyntaxError::new(at, format!("this local hub has no devices.{what} to select from")));
        }
        Ok(())
    }

    fn columns(&mut self) -> Result<Vec<Column>, SyntaxError> {
        let mut columns = Vec::new();
        loop {
            let what = self.selected()?;
            let named = match self.peek() {
                Some(Token::Word(word)) if is(word, "as") => {
                    self.place += 1;
                    Some(self.name()?)
                }
                Some(Token::Word(word)) if !is(word, "from") => Some(self.name()?),
                _ => None,
            };
            // UNCONFIRMED: what the service calls a column without AS. Here it is the last name of its path, or `$` and
            // the column's number.
            let name = named.unwrap_or_else(|| match &what {
                Selected::Path(path) => path.last().cloned().unwrap_or_default(),
                Selected::Aggregate(..) => format!("${}", columns.len() + 1),
            });
            columns.push(Column { what, name });
            if !self.take_sign(",") {
                return Ok(columns);
            }
        }
    }

    fn selected(&mut self) -> Result<Selected, SyntaxError> {
        let aggregate = match (self.peek(), self.tokens.get(self.place + 1)) {
            (Some(Token::Word(word)), Some((Token::Sign("("), _))) => {
                let aggregate = match word.to_ascii_lowercase().as_str() {
                    "count" => Aggregate::Count,
                    "sum" => Aggregate::Sum,
                    "avg" => Aggregate::Avg,
                    "min" => Aggregate::Min,
                    "max" => Aggregate::Max,
                    _ => return Err(self.unexpected("a path, COUNT, SUM, AVG, MIN or MAX")),
                };
                Some(aggregate)
            }
            _ => None,
        };
        let Some(aggregate) = aggregate else { return Ok(Selected::Path(self.path()?)) };
        self.place += 2;
        let at = self.at();
        let path = match self.peek() {
            Some(Token::Sign(")")) => None,
            Some(Token::Sign("*")) => {
                self.place += 1;
                None
            }
            _ => Some(self.path()?),
        };
        self.expect_sign(")")?;
        if path.is_none() && aggregate != Aggregate::Count {
            return Err(SyntaxError::new(at, "this aggregate needs a path"));
        }
        Ok(Selected::Aggregate(aggregate, path))
    }

    fn or(&mut self) -> Result<Expression, SyntaxError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(SyntaxError::new(self.at(), format!("conditions are nested deeper than {MAX_DEPTH}")));
        }
        let mut any = vec![self.and()?];
        while self.take_word("or") {
            any.push(self.and()?);
        }
        self.depth -= 1;
        Ok(if any.len() == 1 { any.remove(0) } else { Expression::Or(any) })
    }

    fn and(&mut self) -> Result<Expression, SyntaxError> {
        let mut all = vec![self.not()?];
        while self.take_word("and") {
            all.push(self.not()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expression::And(all) })
    }

    fn not(&mut self) -> Result<Expression, SyntaxError> {
        let mut negated = false;
        while self.take_word("not") {
            negated = !negated;
        }
        let condition = self.comparison()?;
        Ok(if negated { Expression::Not(Box::new(condition)) } else { condition })
    }

    fn comparison(&mut self) -> Result<Expression, SyntaxError> {
        let left = self.operand()?;
        let comparison = match self.peek() {
            Some(Token::Sign("=")) => Comparison::Equal,
            Some(Token::Sign("!=" | "<>")) => Comparison::NotEqual,
            Some(Token::Sign("<")) => Comparison::Less,
            Some(Token::Sign("<=")) => Comparison::LessOrEqual,
            Some(Token::Sign(">")) => Comparison::Greater,
            Some(Token::Sign(">=")) => Comparison::GreaterOrEqual,
            Some(Token::Word(word)) if is(word, "in") => return self.list(left, false, 1),
            Some(Token::Word(word)) if is(word, "nin") => return self.list(left, true, 1),
            Some(Token::Word(word)) if is(word, "not") => return self.list(left, true, 2),
            _ => return Ok(left),
        };
        self.place += 1;
        Ok(Expression::Compare(comparison, Box::new(left), Box::new(self.operand()?)))
    }

    /// The list after IN, NIN or NOT IN, which are `words` words.
    fn list(&mut self, what: Expression, negated: bool, words: usize) -> Result<Expression, SyntaxError> {
        self.place += words - 1;
        if words == 2 {
            self.expect_word("in")?;
        } else {
            self.place += 1;
        }
        let close = if self.take_sign("(") { ")" } else { "]" };
        if close == "]" {
            self.expect_sign("[")?;
        }
        let mut list = Vec::new();
        if !self.take_sign(close) {
            loop {
                list.push(self.operand()?);
                if !self.take_sign(",") {
                    break;
                }
            }
            self.expect_sign(close)?;
        }
        Ok(Expression::In { what: Box::new(what), list, negated })
    }

    fn operand(&mut self) -> Result<Expression, SyntaxError> {
        let literal = match self.peek() {
            Some(Token::Text(text)) => Some(Expression::Literal(Value::String(text.clone()))),
            Some(Token::Number(number)) => Some(Expression::Literal(Value::Number(number.clone()))),
            Some(Token::Word(word)) => match word.to_ascii_lowercase().as_str() {
                "true" => Some(Expression::Literal(Value::Bool(true))),
                "false" => Some(Expression::Literal(Value::Bool(false))),
                "null" => Some(Expression::Literal(Value::Null)),
                "undefined" => Some(Expression::Undefined),
                _ => None,
            },
            _ => None,
        };
        if let Some(literal) = literal {
            self.place += 1;
            return Ok(literal);
        }
        if self.take_sign("(") {
            let inner = self.or()?;
            self.expect_sign(")")?;
            return Ok(inner);
        }
        match (self.peek(), self.tokens.get(self.place + 1)) {
            (Some(Token::Word(name)), Some((Token::Sign("("), _))) => {
                let name = name.clone();
                self.call(&name)
            }
            _ => Ok(Expression::Path(self.path()?)),
        }
    }

    fn call(&mut self, name: &str) -> Result<Expression, SyntaxError> {
        let at = self.at();
        let known = Function::ALL.into_iter().find(|(known, ..)| is(name, known));
        let Some((_, function, count)) = known else {
            return Err(SyntaxError::new(at, format!("this local hub does not answer the function {name}")));
        };
        self.place += 2;
        let mut arguments = Vec::new();
        if !self.take_sign(")") {
            loop {
                arguments.push(self.or()?);
                if !self.take_sign(",") {
                    break;
                }
            }
            self.expect_sign(")")?;
        }
        if arguments.len() != count {
            return Err(SyntaxError::new(at, format!("{name} takes {count} arguments, not {}", arguments.len())));
        }
        Ok(Expression::Call(function, arguments))
    }

    fn path(&mut self) -> Result<Path, SyntaxError> {
        let mut path = vec![self.name()?];
        loop {
            if self.take_sign(".") {
                path.push(self.name()?);
            } else if matches!(self.peek(), Some(Token::Sign("["))) {
                self.place += 1;
                match self.next() {
                    Some(Token::Text(name)) => path.push(name),
                    Some(Token::Number(number)) => path.push(number.to_string()),
                    _ => {
                        self.place -= 1;
                        return Err(self.unexpected("a quoted name"));
                    }
                }
                self.expect_sign("]")?;
            } else {
                break;
            }
        }
        // The collection's own name may stand before what is in it.
        if path.len() > 1 && is(&path[0], "devices") {
            path.remove(0);
        }
        Ok(path)
    }

    fn name(&mut self) -> Result<String, SyntaxError> {
        match self.next() {
            Some(Token::Word(name) | Token::Name(name)) => Ok(name),
            _ => {
                self.place = self.place.saturating_sub(1);
                Err(self.unexpected("a name"))
            }
        }
    }

    fn count(&mut self) -> Result<usize, SyntaxError> {
        let at = self.at();
        match self.next() {
            Some(Token::Number(number)) => {
                let count = number.as_u64().and_then(|count| usize::try_from(count).ok()).filter(|count| *count > 0);
                count.ok_or_else(|| SyntaxError::new(at, format!("TOP {number} is not a count")))
            }
            _ => Err(SyntaxError::new(at, "TOP needs a count")),
        }
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.place).map(|(token, _)| token)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.peek().cloned();
        self.place += 1;
        token
    }

    fn at(&self) -> usize {
        self.tokens.get(self.place).map_or(self.end, |(_, at)| *at)
    }

    fn take_word(&mut self, wanted: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(word)) if is(word, wanted));
        self.place += usize::from(found);
        found
    }

    fn take_sign(&mut self, wanted: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(sign)) if *sign == wanted);
        self.place += usize::from(found);
        found
    }

    fn expect_word(&mut self, wanted: &str) -> Result<(), SyntaxError> {
        if self.take_word(wanted) { Ok(()) } else { Err(self.unexpected(&wanted.to_ascii_uppercase())) }
    }

    fn expect_sign(&mut self, wanted: &str) -> Result<(), SyntaxError> {
        if self.take_sign(wanted) { Ok(()) } else { Err(self.unexpected(wanted)) }
    }

    fn unexpected(&self, wanted: &str) -> SyntaxError {
        let found = match self.peek() {
            None => "the query ends".to_owned(),
            Some(Token::Word(word) | Token::Name(word)) => format!("there is {word:?}"),
            Some(Token::Text(text)) => format!("there is the text {text:?}"),
            Some(Token::Number(number)) => format!("there is {number}"),
            Some(Token::Sign(sign)) => format!("there is {sign:?}"),
        };
        SyntaxError::new(self.at(), format!("{found} where {wanted} is expected"))
    }
}

fn is(word: &str, keyword: &str) -> bool {
    word.eq_ignore_ascii_case(keyword)
}
