//! Times as a wall clock shows them.

use chrono::{DateTime, LocalResult, NaiveDateTime, Utc};
use chrono_tz::Tz;
use patchbay_core::FieldIssue;
use serde::Deserialize;
use utoipa::ToSchema;

/// A time as the clocks of a zone show it.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalTime {
    /// Date and time without offset. One that comes twice, because clocks are set back, is the first of the two.
    #[schema(value_type = String, example = "2027-03-28T09:30:00")]
    pub date_time: NaiveDateTime,
    /// Name of the zone in the IANA database.
    #[schema(example = "Europe/Berlin")]
    pub time_zone: String,
}

impl LocalTime {
    /// The moment.
    ///
    /// # Errors
    /// There is no such zone, or its clocks leave this time out.
    pub fn read(&self) -> Result<DateTime<Utc>, FieldIssue> {
        let zone: Tz = self.time_zone.parse().map_err(|_| {
            let message = "No such time zone. Use a name of the IANA database, such as `Europe/Berlin`.";
            FieldIssue::new("/scheduled_local/time_zone", "time_zone", message)
        })?;
        match self.date_time.and_local_timezone(zone) {
            LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => Ok(time.to_utc()),
            LocalResult::None => {
                let message = "Clocks are set forward then, and leave this time out. Choose another.";
                Err(FieldIssue::new("/scheduled_local/date_time", "no_such_time", message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(date_time: &str, time_zone: &str) -> Result<String, String> {
        let time = LocalTime {
            date_time: date_time.parse().unwrap(),
            time_zone: time_zone.to_owned(),
        };
        let read = time.read();
        read.map(|time| time.to_rfc3339())
            .map_err(|issue| issue.code.into_owned())
    }

    #[test]
    fn clocks_that_are_set_forward_leave_times_out_and_set_back_have_them_twice() {
        for (date_time, time_zone, read_as) in [
            ("2027-01-15T09:30:00", "Europe/Berlin", Ok("2027-01-15T08:30:00+00:00")),
            ("2027-07-15T09:30:00", "Europe/Berlin", Ok("2027-07-15T07:30:00+00:00")),
            ("2027-03-28T01:59:59", "Europe/Berlin", Ok("2027-03-28T00:59:59+00:00")),
            ("2027-03-28T02:00:00", "Europe/Berlin", Err("no_such_time")),
            ("2027-03-28T02:59:59", "Europe/Berlin", Err("no_such_time")),
            ("2027-03-28T03:00:00", "Europe/Berlin", Ok("2027-03-28T01:00:00+00:00")),
            ("2027-10-31T02:30:00", "Europe/Berlin", Ok("2027-10-31T00:30:00+00:00")),
            ("2027-10-31T03:00:00", "Europe/Berlin", Ok("2027-10-31T02:00:00+00:00")),
            (
                "2027-11-07T01:30:00",
                "America/New_York",
                Ok("2027-11-07T05:30:00+00:00"),
            ),
            // By half an hour.
            ("2027-10-03T02:15:00", "Australia/Lord_Howe", Err("no_such_time")),
            ("2027-06-01T12:00:00", "Asia/Kathmandu", Ok("2027-06-01T06:15:00+00:00")),
            ("2027-06-01T12:00:00", "UTC", Ok("2027-06-01T12:00:00+00:00")),
            ("2027-06-01T12:00:00", "CEST", Err("time_zone")),
            ("2027-06-01T12:00:00", "", Err("time_zone")),
        ] {
            let expected = read_as.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(read(date_time, time_zone), expected, "{date_time} {time_zone}");
        }
    }
}
