// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/data/create_dataset.h"

#include "gradwind/core/datetime.h"
#include "gradwind/core/error.h"
#include "gradwind/data/create_metadata.h"
#include "gradwind/data/create_statistics.h"

#include <algorithm>
#include <cmath>

namespace gradwind::data
{

namespace
{

constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();

/// What a first pass over the measured fields finds: dates without data and cells to keep.
class Scan
{
public:
    Scan(const Recipe& recipe, CreateInput& input, const CreateOptions& options) : missing(recipe.dates.size(), 0)
    {
        for (const auto date : recipe.missing)
            missing[size_t(std::ranges::lower_bound(recipe.dates, date) - recipe.dates.begin())] = 1;
        const auto cells = size_t(input.grid().size());
        if (recipe.drop_cells != DropCells::None || recipe.missing_rule == MissingDates::Automatic)
            look_at_all(recipe, input, options);
        else
            dropped_.assign(cells, 0);
        for (size_t cell = 0; cell < cells; ++cell)
            if (!dropped_[cell])
                kept.push_back(int64_t(cell));
        GRADWIND_CHECK(!kept.empty(), DataError,
                       "[dataset] drop_missing_cells leaves no cell: each of the {} lacks a value in some field",
                       cells);
        GRADWIND_CHECK(std::ranges::find(missing, 0) != missing.end(), DataError,
                       "[dataset] all {} dates from {} to {} are missing in the sources; check `dates` and the files",
                       recipe.dates.size(), format_datetime(recipe.dates.front()),
                       format_datetime(recipe.dates.back()));
    }

    std::vector<uint8_t> missing; ///< by date
    std::vector<int64_t> kept;    ///< cells, ascending

private:
    void look_at_all(const Recipe& recipe, CreateInput& input, const CreateOptions& options)
    {
        const auto cells = size_t(input.grid().size());
        const auto field = cells * input.members().size();
        std::vector<size_t> measured;
        for (size_t i = 0; i < input.names().size(); ++i)
            if (input.kind(i) == Source::Kind::Measured)
                measured.push_back(i);
        std::vector<float> fields(field * measured.size());
        std::vector<uint8_t> holes(cells, 0);                  // some field is NaN at some date
        std::vector<uint8_t> seen(cells * measured.size(), 0); // this field has a value at some date
        for (size_t date = 0; date < recipe.dates.size(); ++date) {
            for (size_t v = 0; v < measured.size() && !missing[date]; ++v) {
                const auto values = std::span(fields).subspan(v * field, field);
                const bool found = input.read(measured[v], recipe.dates[date], values);
                if (recipe.missing_rule == MissingDates::Automatic)
                    missing[date] = !found || std::ranges::all_of(values, [](float x) { return std::isnan(x); });
                else if (!found)
                    std::ranges::fill(values, nan_value); // the second pass says what is wrong
            }
            for (size_t i = 0; i < fields.size() && !missing[date]; ++i) {
                const auto cell = i % cells;
                if (std::isnan(fields[i]))
                    holes[cell] = 1;
                else
                    seen[i / field * cells + cell] = 1;
            }
            if (options.progress)
                options.progress({CreateProgress::Stage::Scan, int64_t(date) + 1, int64_t(recipe.dates.size())});
        }
        dropped_.assign(cells, 0);
        if (recipe.drop_cells == DropCells::EverMissing)
            dropped_ = holes;
        if (recipe.drop_cells == DropCells::NeverAvailable)
            for (size_t i = 0; i < seen.size(); ++i)
                dropped_[i % cells] |= uint8_t(!seen[i]);
    }

    std::vector<uint8_t> dropped_;
};

/// Finds the variables whose every value stays what it was at the first statistics date.
class ConstantFields
{
public:
    ConstantFields(size_t variables, size_t field) : field_(field), changed_(variables, 0) {}

    /// @param row all variables at one date
    void add(std::span<const float> row)
    {
        if (++dates_ == 1)
            first_.assign(row.begin(), row.end());
        for (size_t v = 0; v < changed_.size() && dates_ > 1; ++v)
            if (!changed_[v])
                changed_[v] =
                    !std::equal(row.begin() + ptrdiff_t(v * field_), row.begin() + ptrdiff_t((v + 1) * field_),
                                first_.begin() + ptrdiff_t(v * field_),
                                [](float a, float b) { return a == b || (std::isnan(a) && std::isnan(b)); });
    }

    /// One date alone shows nothing.
    [[nodiscard]] bool is_constant(size_t variable) const { return dates_ > 1 && !changed_[variable]; }

private:
    size_t field_;
    int64_t dates_ = 0;
    std::vector<float> first_;
    std::vector<uint8_t> changed_;
};

/// Writes the store of one recipe.
class Creator
{
public:
    Creator(const Recipe& recipe, const CreateOptions& options)
        : recipe_(recipe), options_(options), writer_(options.output, options.existing), input_(recipe),
          scan_(recipe, input_, options), rows_(int64_t(recipe.dates.size())), variables_(input_.names().size()),
          field_(input_.members().size() * scan_.kept.size()), row_(variables_ * field_), statistics_(variables_),
          tendencies_(recipe.tendencies.size(), std::vector<RunningStatistics>(variables_)),
          constant_(variables_, field_)
    {
        for (const auto& name : recipe.allow_nans)
            GRADWIND_CHECK(std::ranges::binary_search(input_.names(), name), ConfigError,
                           "[dataset] build.allow_nans names `{}`, which is no variable of this data set", name);
        facts_.shape = {rows_, int64_t(variables_), int64_t(input_.members().size()), int64_t(scan_.kept.size())};
        const auto& chunking = recipe.chunking;
        facts_.chunks = {std::min(chunking.dates, facts_.shape[0]),
                         chunking.variables ? std::min(chunking.variables, facts_.shape[1]) : facts_.shape[1],
                         std::min(chunking.ensembles, facts_.shape[2]),
                         grid_chunk(chunking, facts_.shape[1], facts_.shape[3])};
        facts_.dropped_cells = input_.grid().size() - facts_.shape[3];
        for (int64_t row = 0; row < rows_; ++row)
            if (scan_.missing[size_t(row)])
                facts_.missing_dates.push_back(recipe.dates[size_t(row)]);
    }

    CreateReport run()
    {
        writer_.add_array({"data",
                           ZarrType::Float32,
                           facts_.shape,
                           facts_.chunks,
                           {"time", "variable", "ensemble", "cell"},
                           ArraySpec::Fill::NaN});
        for (int64_t first = 0; first < rows_; first += facts_.chunks[0])
            write_chunk(first, std::min(facts_.chunks[0], rows_ - first));
        write_companions();
        for (size_t v = 0; v < variables_; ++v)
            if (constant_.is_constant(v))
                facts_.constant_fields.push_back(input_.names()[v]);
        facts_.size = writer_.size();
        ++facts_.size.files; // the attributes themselves
        writer_.set_attributes(dataset_attributes(recipe_, input_, facts_));
        writer_.commit();
        CreateReport report{facts_.shape, input_.names(), {}, facts_.dropped_cells, writer_.size()};
        for (int64_t row = 0; row < rows_; ++row)
            if (scan_.missing[size_t(row)])
                report.missing.push_back(row);
        return report;
    }

private:
    /// A date that counts for statistics.
    [[nodiscard]] bool counts(int64_t row) const
    {
        const auto date = recipe_.dates[size_t(row)];
        return date >= recipe_.statistics_start && date <= recipe_.statistics_end && !scan_.missing[size_t(row)];
    }

    void write_chunk(int64_t first, int64_t count)
    {
        chunk_.assign(size_t(count) * row_, nan_value);
        bool any = false;
        for (int64_t row = first; row < first + count; ++row) {
            if (!scan_.missing[size_t(row)]) {
                any = true;
                read_row(row, std::span(chunk_).subspan(size_t(row - first) * row_, row_));
            }
            if (options_.progress)
                options_.progress({CreateProgress::Stage::Write, row + 1, rows_});
        }
        if (!any)
            return;
        writer_.write_rows("data", first, chunk_);
        for (int64_t row = first; row < first + count; ++row)
            if (counts(row))
                add_statistics(std::span(chunk_).subspan(size_t(row - first) * row_, row_));
        for (size_t i = 0; i < tendencies_.size(); ++i)
            for (int64_t row = first; row < first + count; ++row)
                add_tendencies(i, row, first);
    }

    void read_row(int64_t row, std::span<float> out)
    {
        const auto cells = size_t(input_.grid().size());
        const auto date = recipe_.dates[size_t(row)];
        field_buffer_.resize(cells * input_.members().size());
        for (size_t v = 0; v < variables_; ++v) {
            GRADWIND_CHECK(input_.read(v, date, field_buffer_), DataError,
                           "[dataset] {} has no {} at {}; put the date under dates.missing, or write `missing: auto`",
                           input_.describe_source(v), input_.names()[v], format_datetime(date));
            auto* to = out.data() + v * field_;
            for (size_t member = 0; member < input_.members().size(); ++member)
                for (const auto cell : scan_.kept)
                    *to++ = field_buffer_[member * cells + size_t(cell)];
            check_nans(v, date, out.subspan(v * field_, field_));
        }
    }

    void check_nans(size_t variable, int64_t date, std::span<const float> values) const
    {
        const auto& name = input_.names()[variable];
        if (recipe_.may_hold_nan(name))
            return;
        const auto nans = std::ranges::count_if(values, [](float x) { return std::isnan(x); });
        GRADWIND_CHECK(nans == 0, DataError,
                       "[dataset] {} has no value in {} of {} cells at {} ({}); allow it (build.allow_nans: [{}]), cut "
                       "such cells away (drop_missing_cells: true), or declare the date missing",
                       name, nans, values.size(), format_datetime(date), input_.describe_source(variable), name);
    }

    void add_statistics(std::span<const float> row)
    {
        for (size_t v = 0; v < variables_; ++v)
            statistics_[v].add(row.subspan(v * field_, field_));
        constant_.add(row);
    }

    /// @param first first row of chunk_
    void add_tendencies(size_t index, int64_t row, int64_t first)
    {
        const auto before = row - recipe_.tendencies[index] / recipe_.frequency;
        if (before < 0 || !counts(row) || !counts(before))
            return;
        const auto now = std::span<const float>(chunk_).subspan(size_t(row - first) * row_, row_);
        const auto then = before >= first ? std::span<const float>(chunk_).subspan(size_t(before - first) * row_, row_)
                                          : earlier_row(before);
        for (size_t v = 0; v < variables_; ++v)
            tendencies_[index][v].add_differences(now.subspan(v * field_, field_), then.subspan(v * field_, field_));
    }

    /// A row of a chunk that was written before; the last such chunk is kept.
    std::span<const float> earlier_row(int64_t row)
    {
        const auto length = facts_.chunks[0];
        const auto first = row / length * length;
        if (first != earlier_first_) {
            earlier_.resize(size_t(length) * row_);
            writer_.read_rows("data", first, earlier_);
            earlier_first_ = first;
        }
        return std::span<const float>(earlier_).subspan(size_t(row - first) * row_, row_);
    }

    void write_statistics(const std::string& prefix, const std::vector<RunningStatistics>& statistics)
    {
        const auto write = [&](const char* name, double (RunningStatistics::*value)() const) {
            std::vector<double> values;
            for (const auto& of_variable : statistics)
                values.push_back((of_variable.*value)());
            writer_.write_whole({prefix + name, ZarrType::Float64, {int64_t(values.size())}, {}, {"variable"}},
                                std::span<const double>(values));
        };
        write("mean", &RunningStatistics::mean);
        write("stdev", &RunningStatistics::stdev);
        write("minimum", &RunningStatistics::minimum);
        write("maximum", &RunningStatistics::maximum);
    }

    void write_companions()
    {
        writer_.write_whole({"dates", ZarrType::DateSeconds, {rows_}, {}, {"time"}},
                            std::span<const int64_t>(recipe_.dates));
        write_coordinate("latitudes", input_.grid().latitudes);
        write_coordinate("longitudes", input_.grid().longitudes);
        write_statistics("", statistics_);
        for (size_t i = 0; i < tendencies_.size(); ++i)
            write_statistics(fmt::format("statistics_tendencies_{}_", frequency_to_string(recipe_.tendencies[i])),
                             tendencies_[i]);
    }

    void write_coordinate(const std::string& name, const std::vector<double>& degrees)
    {
        std::vector<double> kept;
        for (const auto cell : scan_.kept)
            kept.push_back(degrees[size_t(cell)]);
        const std::vector<int64_t> shape = {int64_t(kept.size())};
        if (input_.grid().precision == SourceGrid::Precision::Float64)
            writer_.write_whole({name, ZarrType::Float64, shape, {}, {"cell"}}, std::span<const double>(kept));
        else
            writer_.write_whole({name, ZarrType::Float32, shape, {}, {"cell"}},
                                std::span<const float>(std::vector<float>(kept.begin(), kept.end())));
    }

    const Recipe& recipe_;
    const CreateOptions& options_;
    ZarrWriter writer_; // first, so that an output that cannot be written is refused before anything is read
    CreateInput input_;
    Scan scan_;
    int64_t rows_;
    size_t variables_;
    size_t field_; ///< values of one variable at one date
    size_t row_;   ///< values of one date
    CreateFacts facts_;
    std::vector<float> chunk_;
    std::vector<float> earlier_;
    int64_t earlier_first_ = -1;
    std::vector<float> field_buffer_;
    std::vector<RunningStatistics> statistics_;
    std::vector<std::vector<RunningStatistics>> tendencies_; ///< by time difference, by variable
    ConstantFields constant_;
};

} // namespace

CreateReport create_dataset(const Recipe& recipe, const CreateOptions& options)
{
    return Creator(recipe, options).run();
}

} // namespace gradwind::data
