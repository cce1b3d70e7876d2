//! Rows on their way to a table, column by column, as an Arrow stream.
//!
//! What a cell's type becomes in ClickHouse (checked against the engine by this crate's tests):
//!
//! | cell | Arrow | column |
//! |---|---|---|
//! | `u8 … u64`, `i8 … i64`, `f64` | the same | the same |
//! | `bool` | Boolean | `Bool` |
//! | [`Micros`] | Timestamp(µs, UTC) | `DateTime64(6, 'UTC')` |
//! | [`Seconds`] | `UInt32` | `DateTime`, `DateTime('UTC')` |
//! | [`Days`] | Date32 | `Date`, `Date32` |
//! | `[u8; 16]` | FixedSizeBinary(16) | `FixedString(16)` |
//! | `&str` | Utf8 | `String`, `LowCardinality(String)`, `Enum8`, `FixedString(n)` |
//! | `&[u8]` | Binary | `String` |
//! | `Vec<&str>` | List(Utf8) | `Array(String)`, `Array(LowCardinality(String))` |
//! | `Vec<(&str, &str)>` | Map(Utf8, Utf8) | `Map(String, String)`, `Map(LowCardinality(String), String)` |
//! | `Option` of the above but the last two | nullable | `Nullable(…)` |

use std::sync::Arc;

use arrow_array::builder::{ListBuilder, MapBuilder, StringBuilder};
use arrow_array::types::{
    Date32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    Array as _, ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, PrimitiveArray, RecordBatch,
    StringArray,
};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, Field, Schema};

use crate::Error;

/// Microseconds since 1970 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Micros(pub i64);

/// Seconds since 1970 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds(pub u32);

/// Days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days(pub i32);

/// A value that a column can hold.
pub trait Cell: Sized {
    /// Whether the column has nulls.
    const NULLABLE: bool = false;

    /// The column of these values.
    fn column(cells: impl Iterator<Item = Self>) -> Result<ArrayRef, ArrowError>;
}

macro_rules! primitive_cells {
    ($($cell:ty => $arrow:ty, $value:expr, $finish:expr;)+) => {$(
        impl Cell for $cell {
            fn column(cells: impl Iterator<Item = Self>) -> Result<ArrayRef, ArrowError> {
                let column: PrimitiveArray<$arrow> = PrimitiveArray::from_iter_values(cells.map($value));
                Ok(Arc::new($finish(column)))
            }
        }

        impl Cell for Option<$cell> {
            const NULLABLE: bool = true;

            fn column(cells: impl Iterator<Item = Self>) -> Result<ArrayRef, ArrowError> {
                let column: PrimitiveArray<$arrow> = cells.map(|cell| cell.map($value)).collect();
                Ok(Arc::new($finish(column)))
            }
        }
    )+};
}

primitive_cells! {
    u8 => UInt8Type, |cell| cell, std::convert::identity;
    u16 => UInt16Type, |cell| cell, std::convert::identity;
    u32 => UInt32Type, |cell| cell, std::convert::identity;
    u64 => UInt64Type, |cell| cell, std::convert::identity;
    i8 => Int8Type, |cell| cell, std::convert::identity;
    i16 => Int16Type, |cell| cell, std::convert::identity;
    i32 => Int32Type, |cell| cell, std::convert::identity;
    i64 => Int64Type, |cell| cell, std::convert::identity;
    f64 => Float64Type, |cell| cell, std::convert::identity;
    Micros => TimestampMicrosecondType, |cell: Micros| cell.0, in_utc;
    Seconds => UInt32Type, |cell: Seconds| cell.0, std::convert::identity;
    Days => Date32Type, |cell: Days| cell.0, std::convert::identity;
}

fn in_utc(column: PrimitiveArray<TimestampMicrosecondType>) -> PrimitiveArray<TimestampMicrosecondType> {
    column.with_timezone("UTC")
}

macro_rules! variable_cells {
    ($($cell:ty => $array:ty;)+) => {$(
        impl Cell for $cell {
            fn column(cells: impl Iterator<Item = Self>) -> Result<ArrayRef, ArrowError> {
                Ok(Arc::new(<$array>::from_iter_values(cells)))
            }
        }

        impl Cell for Option<$cell> {
            const NULLABLE: bool = true;

            fn column(cells: impl Iterator<Item = Self>) -> Result<ArrayRef, ArrowError> {
                Ok(Arc::new(<$array>::from_iter(cells)))
            }
        }
    )+};
}

variable_cells! {
    &str => StringArray;
    &[u8] => BinaryArray;
}

impl Cell for bool {
    fn column(cells: impl Iterator<Item = Self>) -> Result<ArrayRef, ArrowError> {
        let column: BooleanArray = cells.map(Some).collect();
        Ok(Arc::new(column))
    }
}

impl Cell for Option<bool> {
    const NULLABLE: bool = true;

    fn column(cells: impl Iterator<Item = Self>) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(cells.collect::<BooleanArray>()))
    }
}

impl Cell for [u8; 16] {
    fn column(cells: impl Iterator<Item = Self>) -> Result<ArrayRef, ArrowError> {
        Option::<[u8; 16]>::column(cells.map(Some))
    }
}

impl Cell for Option<[u8; 16]> {
    const NULLABLE: bool = true;

    fn column(cells: impl Iterator<Item = Self>) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(cells, 16)?))
    }
}

impl Cell for Vec<&str> {
    fn column(cells: impl Iterator<Item = Self>) -> Result<ArrayRef, ArrowError> {
        let mut column = ListBuilder::new(StringBuilder::new()).with_field(Field::new("item", utf8(), false));
        for cell in cells {
            for text in cell {
                column.values().append_value(text);
            }
            column.append(true);
        }
        Ok(Arc::new(column.finish()))
    }
}

impl Cell for Vec<(&str, &str)> {
    fn column(cells: impl Iterator<Item = Self>) -> Result<ArrayRef, ArrowError> {
        let mut column = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new())
            .with_values_field(Field::new("values", utf8(), false));
        for cell in cells {
            for (key, value) in cell {
                column.keys().append_value(key);
                column.values().append_value(value);
            }
            column.append(true)?;
        }
        Ok(Arc::new(column.finish()))
    }
}

fn utf8() -> arrow_schema::DataType {
    arrow_schema::DataType::Utf8
}

/// Names each column and fills it from the rows.
///
/// ```
/// use warehouse::batch::{BatchBuilder, Micros};
///
/// let rows = [(7_u64, "de", 1_700_000_000_000_000_i64), (8, "fr", 1_700_000_000_500_000)];
/// let batch = BatchBuilder::new()
///     .column("row_seq", rows.iter().map(|row| row.0))
///     .column("country", rows.iter().map(|row| row.1))
///     .column("at", rows.iter().map(|row| Micros(row.2)))
///     .build()?;
/// assert_eq!(batch.rows(), 2);
/// let _stream = batch.to_arrow_stream()?;
/// # Ok::<(), warehouse::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct BatchBuilder {
    fields: Vec<Field>,
    columns: Vec<ArrayRef>,
    failed: Option<ArrowError>,
}

impl BatchBuilder {
    /// A batch without columns.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a column.
    #[must_use]
    pub fn column<C: Cell>(mut self, name: &str, cells: impl IntoIterator<Item = C>) -> Self {
        match C::column(cells.into_iter()) {
            Ok(column) => {
                self.fields.push(Field::new(name, column.data_type().clone(), C::NULLABLE));
                self.columns.push(column);
            }
            Err(error) => self.failed = self.failed.or(Some(error)),
        }
        self
    }

    /// The batch, if all columns have one length.
    pub fn build(self) -> Result<Batch, Error> {
        match self.failed {
            Some(error) => Err(error.into()),
            None => {
                let schema = Arc::new(Schema::new(self.fields));
                Ok(Batch { records: RecordBatch::try_new(schema, self.columns)? })
            }
        }
    }
}

/// Rows for one INSERT.
#[derive(Clone, Debug)]
pub struct Batch {
    records: RecordBatch,
}

impl Batch {
    /// How many rows.
    pub fn rows(&self) -> usize {
        self.records.num_rows()
    }

    /// The same rows with one more column that has one value: what differs from attempt to attempt
    /// (`insert_before`) need not be built into the rows.
    pub fn with_constant<C: Cell + Clone>(&self, name: &str, value: C) -> Result<Self, Error> {
        let column = C::column(std::iter::repeat_n(value, self.rows()))?;
        let field = Field::new(name, column.data_type().clone(), C::NULLABLE);
        let fields =
            self.records.schema().fields().iter().cloned().chain([Arc::new(field)]).collect::<Vec<_>>();
        let columns = self.records.columns().iter().cloned().chain([column]).collect();
        Ok(Self { records: RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)? })
    }

    /// `length` rows from `offset` on, without copying them.
    pub fn slice(&self, offset: usize, length: usize) -> Result<Self, Error> {
        if offset.checked_add(length).is_none_or(|end| end > self.rows()) {
            return Err(Error::Batch(format!("rows {offset}+{length} of {}", self.rows())));
        }
        Ok(Self { records: self.records.slice(offset, length) })
    }

    /// The rows in ClickHouse's format `ArrowStream`.
    pub fn to_arrow_stream(&self) -> Result<Vec<u8>, Error> {
        let mut writer = StreamWriter::try_new(Vec::new(), &self.records.schema())?;
        writer.write(&self.records)?;
        Ok(writer.into_inner()?)
    }
}

impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Self {
        Self::Batch(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_two_lengths_are_no_batch() {
        let batch = BatchBuilder::new().column("a", [1_u8, 2]).column("b", ["x"]).build();
        assert!(matches!(batch, Err(Error::Batch(_))));
    }

    #[test]
    fn a_constant_and_a_slice_leave_the_rows_as_they_are() {
        let batch = BatchBuilder::new().column("a", 0_u64..10).build().unwrap();
        let more = batch.with_constant("insert_before", Seconds(7)).unwrap();
        let part = more.slice(4, 6).unwrap();
        assert_eq!((part.rows(), part.records.num_columns()), (6, 2));
        assert!(part.slice(3, 4).is_err());
        assert_eq!(batch.records.num_columns(), 1);
    }
}
